"""Streams made up for checks: random, padded, poisoned, reordered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace

import torch
from torch import Tensor

from cdkit.parts import SampleShape, Stream, Widths

FORMS = tuple(field.name for field in fields(Stream))


def random_stream(
    widths: Widths, sample: SampleShape, *, batch: int = 3, words: int = 5, seed: int = 0, dtype: torch.dtype = torch.float64
) -> Stream:
    """Every form that the widths declare. The first sample says `words` words, each next one fewer, at least one."""
    draws = torch.Generator().manual_seed(seed)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(shape, generator=draws, dtype=torch.float64).to(dtype)

    lengths = torch.tensor([max(1, words - i) for i in range(batch)])
    return Stream(
        tokens=drawn(batch, words, widths.tokens) if widths.tokens else None,
        mask=torch.arange(words)[None] < lengths[:, None] if widths.tokens else None,
        pooled=drawn(batch, widths.pooled) if widths.pooled else None,
        spatial=drawn(batch, widths.spatial, sample.height, sample.width) if widths.spatial else None,
    )


def each(stream: Stream, change: Callable[[Tensor], Tensor], *, mask: bool = True) -> Stream:
    """The same stream with every form changed; the mask too, unless mask is False."""
    values = {form: getattr(stream, form) for form in FORMS if mask or form != "mask"}
    return replace(stream, **{form: change(value) for form, value in values.items() if value is not None})


def cast(stream: Stream, dtype: torch.dtype) -> Stream:
    return each(stream, lambda value: value.to(dtype), mask=False)


def of_rows(stream: Stream, index: Tensor) -> Stream:
    """Samples by index, in its order."""
    return each(stream, lambda value: value[index])


def lengthened(stream: Stream, words: int, *, seed: int = 7) -> Stream:
    """Masked words, drawn at random, behind the others up to `words`."""
    if stream.tokens is None or stream.mask is None:
        return stream
    batch, length, width = stream.tokens.shape
    extra = torch.randn((batch, words - length, width), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    tokens = torch.cat([stream.tokens, extra.to(stream.tokens.dtype)], dim=1)
    return replace(stream, tokens=tokens, mask=torch.cat([stream.mask, stream.mask.new_zeros(batch, words - length)], dim=1))


def poisoned(stream: Stream, value: float) -> Stream:
    """`value` in every masked word."""
    if stream.tokens is None or stream.mask is None:
        return stream
    return replace(stream, tokens=stream.tokens.masked_fill(~stream.mask[..., None], value))


def reordered(stream: Stream, order: Tensor) -> Stream:
    """Words, with their mask, in another order."""
    if stream.tokens is None:
        return stream
    mask = None if stream.mask is None else stream.mask[:, order]
    return replace(stream, tokens=stream.tokens[:, order], mask=mask)
