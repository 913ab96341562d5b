"""Checks of an injector: what is masked is not heard, in whatever form it hides; and order means nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from cdkit.parts import Stream, Widths
from cdkit.testing.case import InjectorCase
from cdkit.testing.streams import lengthened, of_rows, poisoned, reordered
from cdkit.testing.verdict import require, require_close, require_equal

ROUNDING = 1e-12  # float64, through a whole network: what sums in another order may differ by
LONG = 77  # words of Stable Diffusion's prompts


def check_padding(case: InjectorCase) -> None:
    """5 words, padded with anything to 77, say the same."""
    _same("padding", case, lambda stream: lengthened(stream, LONG), f"padded to {LONG} words")


def check_poison(case: InjectorCase) -> None:
    """NaN, infinity or 1e30 in masked words reach neither the output nor a gradient."""
    mounted = case.mounted()
    expected = mounted(case.streams()).detach()
    for value in (float("nan"), float("inf"), 1e30):
        mounted.network.zero_grad()
        found = mounted([poisoned(stream, value) for stream in case.streams()])
        require_close("poison", found, expected, ROUNDING, f"{value} in masked words")
        found.square().mean().backward()
        for name, parameter in mounted.taps.items():
            finite = parameter.grad is None or bool(parameter.grad.isfinite().all())
            require("poison", finite, f"{value} in masked words: gradient of {name}", measured="not finite", allowed="finite")


def check_silence(case: InjectorCase) -> None:
    """With words alone and all of them masked, the network draws what it draws with nothing mounted, but for rounding.

    For an injector that takes words alone; one that refuses them has nothing to keep silent about.
    """
    words = replace(case, widths=tuple(Widths(tokens=widths.tokens) for widths in case.widths))
    words = replace(words, factories={name: factory for name, factory in case.factories.items() if _takes(words, name)})
    with torch.no_grad():
        expected = case.bare().mounted()([])
        for value in (0.0, 1.0, float("nan")):
            said = [_unsaid(stream, value) for stream in words.streams()]
            require_close("silence", words.mounted()(said), expected, ROUNDING, f"all words masked, each {value}")


def _takes(case: InjectorCase, name: str) -> bool:
    try:
        case.factories[name](case.names, case.widths)
    except ValueError:
        return False
    return True


def _unsaid(stream: Stream, value: float) -> Stream:
    if stream.tokens is None or stream.mask is None:
        return stream
    return Stream(tokens=torch.full_like(stream.tokens, value), mask=torch.zeros_like(stream.mask))


def check_masking(case: InjectorCase) -> None:
    """A mask that keeps all is no mask; masking the last words is leaving them out."""
    with torch.no_grad():
        mounted = case.mounted()
        whole = [replace(stream, mask=None) for stream in case.streams()]
        kept = [_masked(stream, 5) for stream in whole]
        require_close("masking", mounted(kept), mounted(whole), ROUNDING, "a mask that keeps all words, against none")
        short = [replace(stream, tokens=None if stream.tokens is None else stream.tokens[:, :3]) for stream in whole]
        cut = [_masked(stream, 3) for stream in whole]
        require_close("masking", mounted(cut), mounted(short), ROUNDING, "the last 2 words masked, against left out")


def _masked(stream: Stream, words: int) -> Stream:
    if stream.tokens is None:
        return stream
    mask = torch.arange(stream.tokens.shape[1]) < words
    return replace(stream, mask=mask.expand(stream.tokens.shape[:2]).clone())


def check_mask_types(case: InjectorCase) -> None:
    """A mask of ints or floats is read as the bool one, or refused with a ValueError or TypeError; never read otherwise."""
    with torch.no_grad():
        mounted = case.mounted()
        expected = mounted(case.streams())
        for dtype in (torch.int64, torch.float32):
            other = [replace(s, mask=None if s.mask is None else s.mask.to(dtype)) for s in case.streams()]
            try:
                found = mounted.draw(mounted.prepare(other))
            except (ValueError, TypeError):
                continue
            require_close("mask types", found, expected, ROUNDING, f"the mask as {dtype}")


def check_word_order(case: InjectorCase) -> None:
    """Words in another order, with their mask, say the same: what order means is the encoder's to say."""
    _same("word order", case, lambda stream: reordered(stream, torch.tensor([3, 0, 4, 2, 1])), "words in another order")


def check_batch_order(case: InjectorCase) -> None:
    """Samples in another order give the same outputs in that order: no sample hears another's words."""
    order = torch.tensor([1, 0, 2])  # no rotation: one that turns the batch would commute with it
    with torch.no_grad():
        mounted = case.mounted()
        streams = case.streams()
        found = mounted.draw(mounted.prepare([of_rows(stream, order) for stream in streams]), order)
        require_close("batch order", found, mounted(streams)[order], ROUNDING, "samples in another order")


def check_alone(case: InjectorCase) -> None:
    """Changing what one sample is told changes no bit of what the others draw."""
    with torch.no_grad():
        mounted = case.mounted()
        first, second = case.streams(), case.streams(1)
        mixed = [_first_from(a, b) for a, b in zip(first, second, strict=True)]
        require_equal("alone", mounted(mixed)[1:], mounted(first)[1:], "the other samples when the first is told otherwise")


def _first_from(stream: Stream, other: Stream) -> Stream:
    def mixed(form: Tensor | None, instead: Tensor | None) -> Tensor | None:
        return None if form is None or instead is None else torch.cat([instead[:1], form[1:]])

    tokens, mask = mixed(stream.tokens, other.tokens), mixed(stream.mask, other.mask)
    return Stream(tokens, mask, mixed(stream.pooled, other.pooled), mixed(stream.spatial, other.spatial))


def _same(check: str, case: InjectorCase, change: Callable[[Stream], Stream], what: str) -> None:
    with torch.no_grad():
        mounted = case.mounted()
        expected = mounted(case.streams())
        require_close(check, mounted([change(stream) for stream in case.streams()]), expected, ROUNDING, what)
