"""hedge dpmpp_2m"""
from __future__ import annotations
import math
from dataclasses import dataclass
from collections.abc import Sequence
import torch
from torch import Tensor
from cdkit.hooks import hookimpl
from cdkit.parts import Denoise, Grid, Unit
@dataclass(frozen=True)
class Dpmpp2m:
    def __call__(self, denoise: Denoise, x: Tensor, grid: Grid, generators: Sequence[torch.Generator]) -> Tensor:
        old, h_last = None, None
        lam = [math.log(max(float(a),1e-12) / float(s)) if s > 0 else math.inf for a, s in zip(grid.alpha, grid.sigma)]
        for i in range(len(grid)):
            clean = denoise(x, i)
            if i == len(grid) - 1: return clean
            h = lam[i + 1] - lam[i]
            d = clean if old is None else (1 + h / (2 * h_last)) * clean - (h / (2 * h_last)) * old
            x = float(grid.sigma[i + 1] / grid.sigma[i]) * x - float(grid.alpha[i + 1]) * math.expm1(-h) * d
            old, h_last = clean, h
        return x
@hookimpl
def cdkit_sampler():
    return Dpmpp2m
