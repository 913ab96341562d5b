"""`dpmpp_2m_sde`: DPM-Solver++(2M) of the stochastic equation (Lu et al. 2022, arXiv 2211.01095, section 5). S calls."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from cdkit.hooks import hookimpl
from cdkit.parts import Denoise, Grid, Sampler
from torch import Tensor

from cdkit_samplers.step import Step, fresh, steps_of


@dataclass(frozen=True)
class Dpmpp2mSde(Sampler):
    """No options. The clean picture is continued half a step in lambda along the line through the last two, as `dpmpp_2m`
    does, and every step but the last draws as much noise as the reverse equation of diffusion asks for.

    First order where there is no such line: on the first step, after a step from alpha 0, and on the last.
    """

    def __call__(self, denoise: Denoise, x: Tensor, grid: Grid, generators: Sequence[torch.Generator]) -> Tensor:
        before, length = None, 0.0
        for i, step in enumerate(steps_of(grid)):
            clean = denoise(x, i)
            if step.last:
                return clean
            ahead = clean if before is None else clean + step.h / (2 * length) * (clean - before)
            x = drifted(step, x, ahead) + spread(step) * fresh(x, generators)
            before, length = clean, step.h
        return x


def drifted(step: Step, x: Tensor, clean: Tensor) -> Tensor:
    """x drawn to a clean picture that does not change on the way, twice as fast as without noise."""
    return (step.sigma_next / step.sigma) * step.kept * x + step.alpha_next * (1 - step.kept**2) * clean


def spread(step: Step) -> float:
    """The standard deviation of the noise that a step adds."""
    return step.sigma_next * math.sqrt(max(1 - step.kept**2, 0.0))


@hookimpl
def cdkit_sampler() -> type[Dpmpp2mSde]:
    return Dpmpp2mSde
