"""`ddim`: denoising diffusion implicit models (Song et al. 2021, arXiv 2010.02502, eq. 12 and 16). Order 1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from cdkit.hooks import hookimpl
from cdkit.parts import Denoise, Grid, Sampler, Unit
from torch import Tensor

from cdkit_samplers.step import ancestral, steps_of


@dataclass(frozen=True)
class Ddim(Sampler):
    """eta: how much noise is drawn anew; 0 is deterministic, 1 is `ddpm` with its small variance."""

    eta: Unit = 0.0

    def __call__(self, denoise: Denoise, x: Tensor, grid: Grid, generators: Sequence[torch.Generator]) -> Tensor:
        for i, step in enumerate(steps_of(grid)):
            x = ancestral(step, x, denoise(x, i), self.eta, generators)
        return x


@hookimpl
def cdkit_sampler() -> type[Ddim]:
    return Ddim
