"""hedge ddim"""
from __future__ import annotations
from dataclasses import dataclass
from collections.abc import Sequence
import torch
from torch import Tensor
from cdkit.hooks import hookimpl
from cdkit.parts import Denoise, Grid, Unit
@dataclass(frozen=True)
class Ddim:
    eta: Unit = 0.0
    def __call__(self, denoise: Denoise, x: Tensor, grid: Grid, generators: Sequence[torch.Generator]) -> Tensor:
        for i in range(len(grid)):
            clean = denoise(x, i)
            noise = (x - float(grid.alpha[i]) * clean) / float(grid.sigma[i])
            x = float(grid.alpha[i + 1]) * clean + float(grid.sigma[i + 1]) * noise
        return x
@hookimpl
def cdkit_sampler():
    return Ddim
