"""Course: all calls of a network in one sampling, each by the detours that the recipe's approximations take at that step."""

from __future__ import annotations

from collections.abc import Callable, Generator, Hashable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from cdkit.diffusion.denoiser import At
from cdkit.parts import Approximation, Detour, SampleShape, Signals

Kept: TypeAlias = Mapping[int, Tensor]  # what detours kept, by their place in the list


@dataclass(frozen=True, slots=True)
class Leg:
    """One call of the network: its detours, each with its phase. A pure function: what was kept goes in and comes out.

    key: equal for legs that do the same, of one network.
    """

    network: nn.Module
    detours: Sequence[tuple[Detour, Hashable]] = ()
    key: Hashable = ()

    def __call__(self, x: Tensor, t: Any, signals: Signals, kept: Kept) -> tuple[Tensor, Kept]:
        fresh = dict(kept)
        with detoured(self.detours, fresh):
            return self.network(x, t, signals), fresh


Call: TypeAlias = Callable[[Leg, Tensor, Any, Signals, Kept], tuple[Tensor, Kept]]


def called(leg: Leg, x: Tensor, t: Any, signals: Signals, kept: Kept) -> tuple[Tensor, Kept]:
    """As it is: nothing is recorded."""
    return leg(x, t, signals, kept)


@contextmanager
def detoured(detours: Sequence[tuple[Detour, Hashable]], kept: dict[int, Tensor]) -> Generator[None]:
    """While it lasts, detours answer in their modules' places; where two share a module, the later one meets the caller."""
    before: list[tuple[nn.Module, Any]] = []

    def answer(place: int, detour: Detour, phase: Hashable, own: Callable[..., Any], *given: Any, **named: Any) -> Any:
        answered, keep = detour.around(partial(own, **named), given, phase, kept.get(place))
        if keep is not None:
            kept[place] = keep
        return answered

    try:
        for place, (detour, phase) in enumerate(detours):
            module = detour.module
            before.append((module, vars(module).get("forward")))
            module.forward = partial(answer, place, detour, phase, module.forward)
        yield
    finally:
        for module, own in reversed(before):
            del module.forward
            if own is not None:
                module.forward = own


class Course:
    """predict(x, t, signals, at) for one sampling of `steps` steps, and the memory of its detours, branch by branch."""

    def __init__(
        self,
        network: nn.Module,
        approximations: Sequence[Approximation],
        sample: SampleShape,
        steps: int,
        call: Call = called,
    ) -> None:
        self._network = network
        self._approximations = approximations
        self._steps = steps
        self._call = call
        self._detours = [(turn, detour) for turn, each in enumerate(approximations) for detour in each.detours(network, sample)]
        self._kept: dict[tuple[int, frozenset[str]], Tensor] = {}

    def __call__(self, x: Tensor, t: Any, signals: Signals, at: At) -> Tensor:
        output, kept = self._call(self._leg(at.step), x, t, signals, self._recalled(at))
        for place, rows in kept.items():
            self._kept |= {(place, branch): own for branch, own in zip(at.branches, rows.chunk(len(at.branches)), strict=True)}
        return output

    def _leg(self, index: int) -> Leg:
        phases = [each.phase(index, self._steps) for each in self._approximations]
        key = (repr(self._approximations), tuple(phases)) if self._approximations else ()
        return Leg(self._network, [(detour, phases[turn]) for turn, detour in self._detours], key)

    def _recalled(self, at: At) -> Kept:
        """What was kept of all the branches that this step asks for; a detour that lacks one of them starts anew."""
        rows = {place: [self._kept.get((place, branch)) for branch in at.branches] for place in range(len(self._detours))}
        return {
            place: torch.cat(found)
            for place, each in rows.items()
            if len(found := [x for x in each if x is not None]) == len(each)
        }
