"""`dpmpp_2m`: DPM-Solver++(2M), multistep in lambda (Lu et al. 2022, arXiv 2211.01095, algorithm 2). Order 2, S calls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from cdkit.hooks import hookimpl
from cdkit.parts import Denoise, Grid, Sampler
from torch import Tensor

from cdkit_samplers.step import steps_of


@dataclass(frozen=True)
class Dpmpp2m(Sampler):
    """No options. The clean picture is continued half a step in lambda along the line through the last two.

    First order where there is no such line: on the first step, after a step from alpha 0 (infinitely long in lambda), and
    on the last, which ends on the clean picture itself.
    """

    def __call__(self, denoise: Denoise, x: Tensor, grid: Grid, generators: Sequence[torch.Generator]) -> Tensor:
        del generators
        before, length = None, 0.0
        for i, step in enumerate(steps_of(grid)):
            clean = denoise(x, i)
            if step.last:
                return clean
            ahead = clean if before is None else clean + step.h / (2 * length) * (clean - before)
            x = step.toward(x, ahead)
            before, length = clean, step.h
        return x


@hookimpl
def cdkit_sampler() -> type[Dpmpp2m]:
    return Dpmpp2m
