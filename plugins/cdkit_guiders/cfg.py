"""`cfg`: classifier-free guidance (Ho & Salimans 2022, arXiv 2207.12598), in an interval, rescaled, for each condition."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import torch
from cdkit.hooks import hookimpl
from cdkit.parts import Grid, Guider, Unit
from torch import Tensor

TOLD: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Cfg(Guider):
    """silent + scale * (told - silent), of clean pictures: at one level of noise the same as of any prediction.

    scale: 1 is what was said, 0 is nothing said, one branch each; above 1 exaggerates.
    rescale: how much of the told picture's own contrast is given back (Lin et al. 2023, eq. 15 and 16).
    interval: times t at which to guide, ends included (Kynkäänniemi et al. 2024); outside, the told branch runs alone.
    scales: by name, for conditions that want a scale of their own. Conditions then begin to speak one after another, those
    without a name here first, and each adds its difference by its own scale (Brooks et al. 2023, InstructPix2Pix, eq. 3).
    ValueError for an interval whose ends are swapped, and for a name in `scales` that is told nothing.
    """

    scale: float = 3.0
    rescale: Unit = 0.0
    interval: tuple[float, float] = (0.0, 1000.0)
    scales: dict[str, float] = field(default_factory=dict[str, float])

    def __post_init__(self) -> None:
        if not self.interval[0] <= self.interval[1]:
            raise ValueError(f"interval {list(self.interval)}; expected its lower end first")

    def branches(self, conditions: Sequence[str], grid: Grid, index: int) -> Sequence[frozenset[str]]:
        """Told more first. A branch that would count nothing is not asked for."""
        if not conditions or not self._guides(grid, index):
            return (TOLD,)
        self._check(conditions)
        rest = [name for name in conditions if name not in self.scales]
        groups = [*([rest] if rest else []), *([name] for name in self.scales)]
        silent = [frozenset(name for group in groups[spoken:] for name in group) for spoken in range(len(groups) + 1)]
        weights = self._weights(bool(rest))
        return [branch for branch, weight in zip(silent[::-1], weights, strict=True) if weight]

    def combine(self, clean: Sequence[Tensor], grid: Grid, index: int) -> Tensor:
        del grid, index
        told = clean[0]
        if len(clean) == 1:
            return told
        weights = self._weights_of(len(clean))
        guided = told
        for weight, branch in zip(weights[1:], clean[1:], strict=True):
            guided = guided + weight * (branch - told)
        return self._rescaled(guided, told)

    def _guides(self, grid: Grid, index: int) -> bool:
        return self.interval[0] <= float(grid.t[index]) <= self.interval[1]

    def _check(self, conditions: Sequence[str]) -> None:
        for name in self.scales:
            if name not in conditions:
                told = ", ".join(conditions)
                raise ValueError(f"guidance scales {name!r}, which is told nothing here; what is told: {told}")

    def _weights(self, rest: bool) -> list[float]:
        """How much each branch counts, told more first; together 1. `rest`: are there conditions without a name in `scales`?"""
        scales = [1.0, *([self.scale] if rest else []), *self.scales.values(), 0.0]
        return [before - after for before, after in pairwise(scales)][::-1]

    def _weights_of(self, n: int) -> list[float]:
        """Those of n branches that count. Where n fits with and without a rest, both give the same weights."""
        counting = ([weight for weight in self._weights(rest) if weight] for rest in (True, False))
        fitting = [weights for weights in counting if len(weights) == n]
        if not fitting:
            raise ValueError(f"{n} branches to combine; this guidance asks for another number")
        return fitting[0]

    def _rescaled(self, guided: Tensor, told: Tensor) -> Tensor:
        """Towards the told picture's standard deviation, picture by picture; a flat picture stays."""
        if not self.rescale:
            return guided
        over = tuple(range(1, guided.dim()))
        found, wanted = guided.std(dim=over, keepdim=True), told.std(dim=over, keepdim=True)
        ratio = torch.where(found > 0, wanted / found, 1.0)
        return guided * (1 + self.rescale * (ratio - 1))


@hookimpl
def cdkit_guider() -> type[Cfg]:
    return Cfg
