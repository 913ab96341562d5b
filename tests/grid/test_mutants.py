"""The grid's checks catch what they are there for: on every backbone, each way of being wrong fails the check named for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from cdkit.parts import Joined, Stream
from cdkit.testing import INJECTOR_CHECKS, InjectorCase
from cdkit.testing.case import InjectorFactory
from torch import Tensor
from wrong_taps import Wrapped


class IgnoresText(Wrapped):
    def prepare(self, *streams: Stream) -> Any:
        return self.tap.prepare(*[changed(stream, torch.zeros_like) for stream in streams])


class HearsNothing(Wrapped):
    def forward(self, h: Tensor, signal: Any, emb: Tensor) -> Any:
        out = self.tap(h, signal, emb)
        return Joined(h[:, :0]) if isinstance(out, Joined) else h


class IgnoresMask(Wrapped):
    def prepare(self, *streams: Stream) -> Any:
        return self.tap.prepare(*[replace(stream, mask=None) for stream in streams])


class IgnoresImage(Wrapped):
    def prepare(self, *streams: Stream) -> Any:
        words, image = streams
        return self.tap.prepare(words, changed(image, torch.zeros_like))


class IgnoresImageMask(Wrapped):
    def prepare(self, *streams: Stream) -> Any:
        words, image = streams
        return self.tap.prepare(words, replace(image, mask=None))


class LeaksPadding(Wrapped):
    """Attends as the mask says, but lets masked words into its arithmetic, where zero times NaN is NaN."""

    def prepare(self, *streams: Stream) -> Any:
        leaves = self.tap.prepare(*streams)
        leak = streams[0].tokens.sum(dim=(1, 2)).to(leaves[0]) * 0
        return (leaves[0] + leak[:, None, None], *leaves[1:])


class WrongBatchOrder(Wrapped):
    def prepare(self, *streams: Stream) -> Any:
        return self.tap.prepare(*[changed(stream, lambda value: value.roll(1, 0), mask=True) for stream in streams])


class HearsNeighbours(Wrapped):
    def prepare(self, *streams: Stream) -> Any:
        return self.tap.prepare(*[changed(stream, lambda value: value + value.mean(0, keepdim=True)) for stream in streams])


class StartsLoud(Wrapped):
    def forward(self, h: Tensor, signal: Any, emb: Tensor) -> Any:
        return self.tap(h, signal, emb) * 1.5


class CannotLearn(Wrapped):
    def __init__(self, tap: Any) -> None:
        super().__init__(tap)
        for parameter in self.parameters():
            parameter.requires_grad_(False)


class LearnsWithoutListening(IgnoresText):
    """Has a gradient at birth, and yet no step makes it hear."""


class SpoilsTheStream(Wrapped):
    def prepare(self, *streams: Stream) -> Any:
        signal = self.tap.prepare(*streams)
        for stream in streams:
            changed(stream, lambda value: value.mul_(2))
        return signal


class DrawsRandomNumbers(Wrapped):
    def prepare(self, *streams: Stream) -> Any:
        return self.tap.prepare(*[changed(stream, lambda value: value + torch.randn_like(value)) for stream in streams])


class NarrowKeys(Wrapped):
    """Keys of another width than the self-attention's."""

    def forward(self, h: Tensor, signal: Any, emb: Tensor) -> Any:
        joined = self.tap(h, signal, emb)
        return replace(joined, keys=joined.keys[..., 1:])


class AnswersInFloat64(Wrapped):
    def forward(self, h: Tensor, signal: Any, emb: Tensor) -> Any:
        return self.tap(h, signal, emb).double()


MUTANTS: list[tuple[type[Wrapped], str, str]] = [
    (IgnoresText, "cross_attention", "matters"),
    (IgnoresText, "film", "matters"),
    (IgnoresText, "adagn", "matters"),
    (IgnoresText, "film_gain", "matters"),
    (IgnoresText, "adaln_single", "matters"),
    (IgnoresText, "weights", "matters"),
    (IgnoresText, "text_query", "matters"),
    (IgnoresText, "in_context", "matters"),
    (IgnoresText, "decoupled", "matters"),
    (IgnoresText, "added_kv", "matters"),
    (IgnoresText, "gated", "matters"),
    (IgnoresText, "perceiver", "matters"),
    (IgnoresImage, "decoupled", "matters"),
    (IgnoresImageMask, "decoupled", "padding"),
    (IgnoresImageMask, "decoupled", "silence"),
    (HearsNothing, "add", "matters"),
    (HearsNothing, "spade", "matters"),
    (HearsNothing, "concat_multi", "matters"),
    (HearsNothing, "in_context", "matters"),
    (HearsNothing, "added_kv", "matters"),
    (LearnsWithoutListening, "cross_attention", "learns"),
    (IgnoresMask, "cross_attention", "padding"),
    (IgnoresMask, "in_context", "padding"),
    (IgnoresMask, "added_kv", "padding"),
    (IgnoresMask, "gated", "padding"),
    (IgnoresMask, "gated", "silence"),
    (IgnoresMask, "perceiver", "padding"),
    (IgnoresMask, "perceiver", "silence"),
    (IgnoresMask, "text_query", "padding"),
    (IgnoresMask, "text_query", "silence"),
    (IgnoresMask, "cross_attention", "masking"),
    (LeaksPadding, "cross_attention", "poison"),
    (LeaksPadding, "in_context", "poison"),
    (LeaksPadding, "added_kv", "poison"),
    (LeaksPadding, "gated", "poison"),
    (LeaksPadding, "perceiver", "poison"),
    (LeaksPadding, "text_query", "poison"),
    (WrongBatchOrder, "film", "batch order"),
    (WrongBatchOrder, "concat", "batch order"),
    (WrongBatchOrder, "adaln_single", "batch order"),
    (WrongBatchOrder, "spade", "batch order"),
    (WrongBatchOrder, "concat_multi", "batch order"),
    (HearsNeighbours, "adaln_zero", "alone"),
    (HearsNeighbours, "weights", "alone"),
    (StartsLoud, "adaln_zero", "identity"),
    (CannotLearn, "add", "learns"),
    (LearnsWithoutListening, "film_gain", "learns"),
    (SpoilsTheStream, "film", "prepare"),
    (DrawsRandomNumbers, "film", "prepare"),
    (AnswersInFloat64, "film", "shapes"),
    (NarrowKeys, "added_kv", "shapes"),
]


def changed(stream: Stream, change: Callable[[Tensor], Tensor], *, mask: bool = False) -> Stream:
    forms = {form: getattr(stream, form) for form in ("tokens", "pooled", "spatial", *(["mask"] if mask else []))}
    return replace(stream, **{form: change(value) for form, value in forms.items() if value is not None})


def mutated(factory: InjectorFactory, mutant: type[Wrapped]) -> InjectorFactory:
    class Injector:
        def __init__(self, *args: Any) -> None:
            self.real = factory(*args)

        def tap(self, site: Any) -> Any:
            tap = self.real.tap(site)
            return None if tap is None else mutant(tap)

    return Injector


@pytest.mark.parametrize(("mutant", "arm", "check"), MUTANTS, ids=lambda value: getattr(value, "__name__", value))
def test_a_mutant_is_caught(case: InjectorCase, mutant: type[Wrapped], check: str) -> None:
    name, factory = next(iter(case.factories.items()))
    with pytest.raises(AssertionError, match=f"^{check}: .*: measured .*, allowed .*"):
        INJECTOR_CHECKS[check](replace(case, factories={name: mutated(factory, mutant)}))


def test_an_injector_without_a_place_is_caught(film_case: InjectorCase) -> None:
    with pytest.raises(AssertionError, match=r"^place: film must take a site of .*: measured 0, allowed >= 1"):
        INJECTOR_CHECKS["place"](film_case.at("nowhere"))


def test_a_backbone_that_moves_with_its_taps_is_caught(film_case: InjectorCase) -> None:
    def unforked(mount: Any, sample: Any) -> Any:
        def drawing(site: Any) -> Any:
            slot = mount(site)
            torch.rand(len(slot.taps))
            return slot

        return film_case.backbone(drawing, sample)

    with pytest.raises(AssertionError, match=r"^backbone: the network's weight .* with the injector mounted"):
        INJECTOR_CHECKS["backbone"](replace(film_case, backbone=unforked))
