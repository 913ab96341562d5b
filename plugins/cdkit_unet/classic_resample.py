"""The textbook's halving and doubling of resolution: learned convolutions of four by four."""

from __future__ import annotations

from torch import nn


class Downsample(nn.Conv2d):
    """(B, dim, H, W) -> (B, dim, H / 2, W / 2)."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim, dim, 4, 2, 1)


class Upsample(nn.ConvTranspose2d):
    """(B, dim, H, W) -> (B, dim, 2H, 2W)."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim, dim, 4, 2, 1)
