"""`euler`: Euler's method on the probability flow (Karras et al. 2022, EDM, algorithm 1 without its correction). Order 1.

In sigma / alpha, in s of a flow and in every other coordinate in which a fixed picture and a fixed noise make a straight
line, Euler's step is the same, and it is DDIM's: `euler` and `ddim` with eta 0 draw equal pictures up to rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from cdkit.hooks import hookimpl
from cdkit.parts import Denoise, Grid, Sampler
from torch import Tensor

from cdkit_samplers.step import steps_of


@dataclass(frozen=True)
class Euler(Sampler):
    """No options."""

    def __call__(self, denoise: Denoise, x: Tensor, grid: Grid, generators: Sequence[torch.Generator]) -> Tensor:
        del generators
        for i, step in enumerate(steps_of(grid)):
            clean = denoise(x, i)
            x = step.to(clean, step.noise(x, clean))
        return x


@hookimpl
def cdkit_sampler() -> type[Euler]:
    return Euler
