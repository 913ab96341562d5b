"""Half and twice the resolution, as ADM and Stable Diffusion do it."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class Downsample(nn.Module):
    """(B, C, H, W) -> (B, C, H / 2, W / 2): a 3 x 3 convolution of stride 2, padded by 1 on every side."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, h: Tensor) -> Tensor:
        return self.conv(h)


class Upsample(nn.Module):
    """(B, C, H, W) -> (B, C, 2H, 2W): every pixel four times, then a 3 x 3 convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, h: Tensor) -> Tensor:
        return self.conv(F.interpolate(h, scale_factor=2.0, mode="nearest"))
