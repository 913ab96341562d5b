"""Begun: what a network sets out from instead of from noise alone."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from cdkit.parts import Denoise, Grid


@dataclass(frozen=True, slots=True)
class Begun:
    """A start as the network sees it: latents (1, C, H, W), and at their size the mask (1, 1, H, W) of what is to be kept.

    A model that is told the mask needs none here, and begins from noise alone where all of the steps are taken.
    """

    clean: Tensor
    mask: Tensor | None
    from_noise: bool

    def noised(self, noise: Tensor, grid: Grid) -> Tensor:
        """x (B, C, H, W) at the grid's first level."""
        if self.from_noise:
            return unit_noise(noise, grid)
        return float(grid.alpha[0]) * self.clean + float(grid.sigma[0]) * noise

    def kept(self, denoise: Denoise) -> Denoise:
        """The denoiser that knows what is under the mask's zeros: there the clean picture is the given one."""
        if self.mask is None:
            return denoise
        mask, known = self.mask, (1 - self.mask) * self.clean
        return lambda x, i: mask * denoise(x, i) + known


def unit_noise(noise: Tensor, grid: Grid) -> Tensor:
    """x (B, C, H, W) at the grid's first level, of nothing known.

    What noise does not hide there is drawn as noise too: pictures are taken to be of unit variance.
    """
    return noise * math.hypot(float(grid.alpha[0]), float(grid.sigma[0]))
