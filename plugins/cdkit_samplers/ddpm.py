"""`ddpm`: the ancestral sampling of denoising diffusion (Ho et al. 2020, arXiv 2006.11239, algorithm 2). Stochastic."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from cdkit.hooks import hookimpl
from cdkit.parts import Denoise, Grid, Sampler
from torch import Tensor

from cdkit_samplers.step import Step, fresh, steps_of


@dataclass(frozen=True)
class Ddpm(Sampler):
    """Each step draws from q(x_next | x, clean), on any path and between any two steps of it.

    variance: `small` is the posterior's (their beta tilde, exact for data in one point); `large` is that of noising,
    q(x | x_next) (their beta, exact for standard normal data), which wants a step for every step of training.
    """

    variance: Literal["small", "large"] = "small"

    def __call__(self, denoise: Denoise, x: Tensor, grid: Grid, generators: Sequence[torch.Generator]) -> Tensor:
        for i, step in enumerate(steps_of(grid)):
            mean, deviation = posterior(step, x, denoise(x, i), self.variance)
            x = mean if step.last else mean + deviation * fresh(x, generators)
        return x


def posterior(step: Step, x: Tensor, clean: Tensor, variance: Literal["small", "large"]) -> tuple[Tensor, float]:
    """Mean and standard deviation of the next x (Ho et al. 2020, eq. 7), for alpha 0 and for paths of any length too."""
    mean = step.alpha_next * clean + step.sigma_next * step.kept * step.noise(x, clean)
    scale = step.sigma_next if variance == "small" else step.sigma
    return mean, scale * math.sqrt(max(1 - step.kept**2, 0.0))


@hookimpl
def cdkit_sampler() -> type[Ddpm]:
    return Ddpm
