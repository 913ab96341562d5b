"""Streams for a proof: shapes without values on the meta device, random values on the CPU."""

from __future__ import annotations

import torch
from torch import Tensor

from cdkit.model import Model
from cdkit.parts import SampleShape, Stream, Widths

BATCH = 2
WORDS = 7


def shapes(widths: Widths, sample: SampleShape) -> dict[str, tuple[int, ...]]:
    """The shape of each form that a stream of these widths offers."""
    every = {
        "tokens": (BATCH, WORDS, widths.tokens),
        "pooled": (BATCH, widths.pooled),
        "spatial": (BATCH, widths.spatial, sample.height, sample.width),
    }
    return {form: shape for form, shape in every.items() if getattr(widths, form)}


def fake(model: Model) -> dict[str, Stream]:
    """A stream on the meta device for each condition that has an encoder of its own."""
    return {name: Stream(**{k: torch.empty(v, device="meta") for k, v in _shapes(model, name).items()}) for name in model.told}


def random(model: Model, name: str, generator: torch.Generator) -> Stream:
    """A random stream (float64) in place of an encoder that is too heavy to run."""
    return Stream(**{k: torch.randn(v, generator=generator, dtype=torch.float64) for k, v in _shapes(model, name).items()})


def random_streams(model: Model, batch: int, device: torch.device, dtype: torch.dtype = torch.float32) -> dict[str, Stream]:
    """What the encoders might have said of so many pictures: time depends on no value."""
    return {
        name: Stream(
            **{form: torch.randn(batch, *size, device=device, dtype=dtype) for form, (_, *size) in _shapes(model, name).items()}
        )
        for name in model.told
    }


def leaves(stream: Stream) -> list[Tensor]:
    """The forms that a stream has, but for its mask: what it says rather than how long it is."""
    return [value for value in (stream.tokens, stream.pooled, stream.spatial) if value is not None]


def _shapes(model: Model, name: str) -> dict[str, tuple[int, ...]]:
    return shapes(model.readers[name].encoder.widths, model.shape)
