"""`lcm`: multistep sampling of latent consistency models (Luo et al. 2023, arXiv 2310.04378, algorithm 3). Stochastic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge
from cdkit.hooks import Trial, hookimpl
from cdkit.parts import Denoise, Grid, Sampler
from torch import Tensor

from cdkit_samplers.step import fresh, steps_of

DATA = 0.5  # the standard deviation of the data in their boundary condition


@dataclass(frozen=True)
class Lcm(Sampler):
    """For models that were distilled to answer the clean picture at once: each step goes there, and back to less noise.

    scaling: of the time in the boundary condition c_skip(0) = 1, c_out(0) = 0 that they were trained with; 0 leaves x out.
    """

    scaling: Annotated[float, Ge(0)] = 10.0

    def __call__(self, denoise: Denoise, x: Tensor, grid: Grid, generators: Sequence[torch.Generator]) -> Tensor:
        for i, (t, step) in enumerate(zip(grid.t.tolist(), steps_of(grid), strict=False)):
            kept, answered = self._shares(t)
            clean = answered * denoise(x, i) + kept * x
            x = clean if step.last else step.to(clean, fresh(x, generators))
        return x

    def _shares(self, t: float) -> tuple[float, float]:
        """How much of x is kept and how much of the answer is taken at time t in [0, 1000]."""
        if not self.scaling:
            return 0.0, 1.0
        scaled = t * self.scaling
        return DATA**2 / (scaled**2 + DATA**2), scaled / (scaled**2 + DATA**2) ** 0.5


@hookimpl
def cdkit_sampler() -> type[Lcm]:
    return Lcm


@hookimpl
def cdkit_trial() -> Trial:
    return Trial(exceptions={"lands": "its boundary condition keeps a trace of x"})
