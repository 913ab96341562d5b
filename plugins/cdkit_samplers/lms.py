"""`lms`: Adams and Bashforth's linear multistep method in sigma / alpha, of whatever spacing (k-diffusion's). S calls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from annotated_types import Interval
from cdkit.hooks import hookimpl
from cdkit.parts import Denoise, Grid, Sampler
from torch import Tensor

from cdkit_samplers.step import Step, steps_of


@dataclass(frozen=True)
class Lms(Sampler):
    """order: of the polynomial through the last noises that is integrated over a step; the first steps have fewer.

    The whole is of order 2, since its first step is Euler's. What was seen at alpha 0, where sigma / alpha is infinite, is
    not looked back at.
    """

    order: Annotated[int, Interval(ge=1, le=4)] = 4

    def __call__(self, denoise: Denoise, x: Tensor, grid: Grid, generators: Sequence[torch.Generator]) -> Tensor:
        del generators
        past: list[tuple[float, Tensor]] = []  # sigma / alpha and the noise seen there, newest first
        for i, step in enumerate(steps_of(grid)):
            clean = denoise(x, i)
            noise = step.noise(x, clean)
            if step.alpha == 0:
                x = step.to(clean, noise)
                continue
            past = [(step.sigma / step.alpha, noise), *past[: self.order - 1]]
            x = step.alpha_next * (x / step.alpha + moved(step, past))
        return x


def moved(step: Step, past: Sequence[tuple[float, Tensor]]) -> Tensor:
    """The change of x / alpha over a step: the integral of the polynomial through the noises of the past."""
    shares = integrals([place for place, _ in past], step.sigma_next / step.alpha_next)
    return torch.stack([share * noise for share, (_, noise) in zip(shares, past, strict=True)]).sum(0)


def integrals(places: Sequence[float], end: float) -> list[float]:
    """For each place, the integral from the first one to `end` of the polynomial that is 1 there and 0 at the others."""
    start = places[0]
    shares: list[float] = []
    for place in places:
        roots = [other - start for other in places if other != place]
        lagrange = np.polynomial.Polynomial([1.0])
        for root in roots:
            lagrange = lagrange * np.polynomial.Polynomial([-root, 1.0]) / (place - start - root)
        shares.append(float(lagrange.integ()(end - start)))
    return shares


@hookimpl
def cdkit_sampler() -> type[Lms]:
    return Lms
