"""`euler_ancestral`: Euler's step to below the next level, and fresh noise up to it (k-diffusion's sampler). Stochastic.

Their sigma_up and sigma_down, of sigma / alpha, give DDIM's equation 16: with equal eta it is `ddim` in other words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from cdkit.hooks import hookimpl
from cdkit.parts import Denoise, Grid, Sampler, Unit
from torch import Tensor

from cdkit_samplers.step import ancestral, steps_of


@dataclass(frozen=True)
class EulerAncestral(Sampler):
    """eta: how much noise is drawn anew; 0 is `euler`."""

    eta: Unit = 1.0

    def __call__(self, denoise: Denoise, x: Tensor, grid: Grid, generators: Sequence[torch.Generator]) -> Tensor:
        for i, step in enumerate(steps_of(grid)):
            x = ancestral(step, x, denoise(x, i), self.eta, generators)
        return x


@hookimpl
def cdkit_sampler() -> type[EulerAncestral]:
    return EulerAncestral
