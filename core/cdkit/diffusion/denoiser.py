"""Denoiser: (x, index into the grid) -> clean picture, the only thing that a sampler sees of model, prompt and guidance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple, TypeAlias

import torch
from einops import repeat
from torch import Tensor

from cdkit.diffusion.process import Diffusion
from cdkit.parts import Grid, Guider, Signals

Branches: TypeAlias = tuple[frozenset[str], ...]


class At(NamedTuple):
    """Where in a sampling the network is asked: the step of the grid, and whose rows they are, branch after branch."""

    step: int
    branches: Branches


Predict: TypeAlias = Callable[[Tensor, Any, Signals, At], Tensor]
Moments: TypeAlias = Callable[[int], Sequence[Any] | None]

TOLD_ALL: Branches = (frozenset(),)


class Denoiser:
    """One call of the model a step, with a row a picture for every branch that the guider asks for.

    predict: (x, t, signals, at) -> the network's output. moments: a number of branches -> what it is told at each step instead
    of the time t (B,), if something else. signals: branches -> prepared signals, branch after branch along the batch; asked
    once for each distinct tuple of branches, never once a step. conditions: what is told something, the only conditions
    that can be guided; with none, or without a guider, there is one branch, told everything.
    """

    def __init__(
        self,
        *,
        predict: Predict,
        signals: Callable[[Branches], Signals],
        diffusion: Diffusion,
        grid: Grid,
        guider: Guider | None = None,
        conditions: Sequence[str] = (),
        moments: Moments | None = None,
    ) -> None:
        self._predict = predict
        self._signals = signals
        self._diffusion = diffusion
        self._grid = grid
        self._guider = guider if conditions else None
        self._conditions = tuple(conditions)
        self._moments = cache(moments) if moments is not None else None
        self._prepared: dict[Branches, Signals] = {}
        # Python floats, read once: no step waits for a device.
        self._levels = list(zip(grid.t.tolist(), grid.alpha.tolist(), grid.sigma.tolist(), strict=True))

    def __call__(self, x: Tensor, i: int) -> Tensor:
        """x (B, C, H, W) at step i of the grid -> the guided clean picture, clamped last, in x's dtype."""
        branches = self._branches(i)
        clean = self._clean(x, i, branches)
        guided = clean[0] if self._guider is None else self._guider.combine(clean, self._grid, i)
        clip = self._diffusion.clip
        return guided if clip is None else guided.clamp(-clip, clip)

    def _branches(self, i: int) -> Branches:
        if self._guider is None:
            return TOLD_ALL
        branches = tuple(self._guider.branches(self._conditions, self._grid, i))
        if not branches:
            raise ValueError(f"{type(self._guider).__name__} asks for no branch at step {i}; expected at least one")
        return branches

    def _clean(self, x: Tensor, i: int, branches: Branches) -> Sequence[Tensor]:
        """The clean picture of each branch."""
        _, alpha, sigma = self._levels[i]
        rows = x if len(branches) == 1 else repeat(x, "b ... -> (n b) ...", n=len(branches))
        output = self._predict(rows, self._time(i, rows, len(branches)), self._prepare(branches), At(i, branches))
        return self._diffusion.clean_at(output, rows, alpha, sigma).chunk(len(branches))

    def _time(self, i: int, rows: Tensor, branches: int) -> Any:
        if self._moments is not None and (known := self._moments(branches)) is not None:
            return known[i]
        dtype = torch.promote_types(rows.dtype, torch.float32)
        return torch.full((len(rows),), self._levels[i][0], dtype=dtype, device=rows.device)

    def _prepare(self, branches: Branches) -> Signals:
        if branches not in self._prepared:
            self._prepared[branches] = self._signals(branches)
        return self._prepared[branches]
