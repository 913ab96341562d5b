"""`heun`: Heun's method on the probability flow (Karras et al. 2022, EDM, algorithm 1). Order 2, 2 S - 1 calls.

A step goes to where Euler's would, looks at the clean picture from there, and moves by half of what changed. The last
step, which ends on the clean picture, is Euler's: one step of order 1 whose length shrinks leaves the whole at order 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from cdkit.hooks import hookimpl
from cdkit.parts import Denoise, Grid, Sampler
from torch import Tensor

from cdkit_samplers.step import Step, steps_of


@dataclass(frozen=True)
class Heun(Sampler):
    """along: the coordinate in which the slope is averaged.

    `share` is sigma / (alpha + sigma), the s of a flow: bounded, so a grid may begin with alpha 0 or close to it.
    `ratio` is sigma / alpha, EDM's own; it is lost where a schedule ends in almost no picture (cosine: sigma / alpha is
    20,000), and a step from alpha 0, which has no ratio, goes along the share.
    """

    along: Literal["share", "ratio"] = "share"

    def __call__(self, denoise: Denoise, x: Tensor, grid: Grid, generators: Sequence[torch.Generator]) -> Tensor:
        del generators
        for i, step in enumerate(steps_of(grid)):
            clean = denoise(x, i)
            x = step.to(clean, step.noise(x, clean))
            if not step.last:
                x = x + self._part(step) * (denoise(x, i + 1) - clean)
        return x

    def _part(self, step: Step) -> float:
        """How much of the change of the clean picture moves x."""
        return by_ratio(step) if self.along == "ratio" and step.alpha > 0 else by_share(step)


def by_ratio(step: Step) -> float:
    """In r = sigma / alpha: alpha_next (r - r_next) / (2 r_next)."""
    return step.alpha_next * (1 / step.kept - 1) / 2


def by_share(step: Step) -> float:
    """In s = sigma / (alpha + sigma): (alpha_next + sigma_next) (s - s_next) / (2 s_next)."""
    s = step.sigma / (step.alpha + step.sigma)
    s_next = step.sigma_next / (step.alpha_next + step.sigma_next)
    return (step.alpha_next + step.sigma_next) * (s / s_next - 1) / 2


@hookimpl
def cdkit_sampler() -> type[Heun]:
    return Heun
