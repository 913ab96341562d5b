"""One step of a grid, in numbers: what every sampler here is written in. x = alpha * clean + sigma * noise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from cdkit.parts import Grid
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Step:
    """From a level of noise (alpha, sigma > 0) to the next, cleaner one. alpha may be 0, and sigma_next."""

    alpha: float
    sigma: float
    alpha_next: float
    sigma_next: float

    @property
    def last(self) -> bool:
        """It ends on the clean picture."""
        return self.sigma_next == 0

    @property
    def h(self) -> float:
        """How much lambda = log(alpha / sigma) grows; infinite where alpha is 0 or sigma_next is."""
        return log_ratio(self.alpha_next, self.sigma_next) - log_ratio(self.alpha, self.sigma)

    @property
    def kept(self) -> float:
        """exp(-h), the share of sigma / alpha that stays: 0 where h is infinite."""
        return (self.alpha * self.sigma_next) / (self.alpha_next * self.sigma)

    def noise(self, x: Tensor, clean: Tensor) -> Tensor:
        """The noise in x, if this is its clean picture."""
        return (x - self.alpha * clean) / self.sigma

    def to(self, clean: Tensor, noise: Tensor) -> Tensor:
        """The same picture and noise at the next level: one step of DDIM, and Euler's in every straight coordinate."""
        return self.alpha_next * clean + self.sigma_next * noise

    def toward(self, x: Tensor, clean: Tensor) -> Tensor:
        """x drawn to a clean picture that does not change on the way: the first-order exponential step in lambda."""
        return (self.sigma_next / self.sigma) * x - self.alpha_next * math.expm1(-self.h) * clean


def log_ratio(alpha: float, sigma: float) -> float:
    """lambda, half the logarithm of the signal-to-noise ratio: -inf for pure noise, inf for the clean picture."""
    if alpha == 0:
        return -math.inf
    return math.inf if sigma == 0 else math.log(alpha / sigma)


def steps_of(grid: Grid) -> list[Step]:
    """The S steps of a grid, as Python floats: a sampler never waits for a device."""
    levels = list(zip(grid.alpha.tolist(), grid.sigma.tolist(), strict=True))
    return [Step(*here, *there) for here, there in pairwise(levels)]


def fresh(x: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
    """Standard normal noise like x (B, C, H, W): picture i's from generators[i] alone, so no other picture changes it.

    Drawn in float32 where the generator lives, whatever x is: one seed is one noise. ValueError if their numbers differ.
    """
    if len(generators) != len(x):
        raise ValueError(f"{len(generators)} generators for {len(x)} pictures; expected one a picture")
    drawn = [torch.randn(x.shape[1:], generator=g, device=g.device, dtype=torch.float32).to(x) for g in generators]
    return torch.stack(drawn)


def ancestral(step: Step, x: Tensor, clean: Tensor, eta: float, generators: Sequence[torch.Generator]) -> Tensor:
    """To the next level, a share of whose noise is drawn anew.

    The variance of what is new is eta^2 times that of q(x_next | x, clean) (Ho et al. 2020, eq. 7; Song et al. 2021,
    DDIM, eq. 16), sigma_next^2 (1 - kept^2) on any path: eta 0 draws nothing, eta 1 is the whole posterior.
    """
    new = eta * step.sigma_next * math.sqrt(max(1 - step.kept**2, 0.0))
    old = math.sqrt(max(step.sigma_next**2 - new**2, 0.0))
    stays = step.alpha_next * clean + old * step.noise(x, clean)
    return stays + new * fresh(x, generators) if new else stays
