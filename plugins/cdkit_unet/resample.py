"""Half and twice the resolution, as ADM and Stable Diffusion do it."""

from __future__ import annotations

import torch
from cdkit.parts import Settling, heard, suits, woven
from torch import Tensor, nn
from torch.nn import functional as F


class Downsample(nn.Module):
    """(B, C, H, W) -> (B, C, H / 2, W / 2): a 3 x 3 convolution of stride 2, padded by 1 on every side."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, h: Tensor) -> Tensor:
        return self.conv(h)


class Upsample(nn.Module, Settling):
    """(B, C, H, W) -> (B, C, 2H, 2W): every pixel four times, then a 3 x 3 convolution.

    Each pixel of the answer sees four pixels of h, some of them twice or four times. Where kernels may be taken, what they are
    multiplied by is summed beforehand: for each of the four phases (even and odd rows and columns) a convolution of 2 x 2,
    which is 4/9 of the arithmetic. Settled, it is summed once and for all.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.quarters: Tensor | None = None  # (4 C, C, 2, 2), once they are settled

    def forward(self, h: Tensor) -> Tensor:
        if heard(self.conv) or (self.quarters is None and not suits(h)):
            return self.conv(F.interpolate(h, scale_factor=2.0, mode="nearest"))
        quarters = quarters_of(self.conv.weight) if self.quarters is None else self.quarters
        return woven(F.conv2d(h, quarters, padding=1), self.conv.bias)

    def settle(self) -> None:
        self.quarters = quarters_of(self.conv.weight.detach())


def quarters_of(weight: Tensor) -> Tensor:
    """(C', C, 3, 3) over doubled pixels -> (4 C', C, 2, 2) over the pixels themselves, summed in float32 at least."""
    exact = weight.to(torch.promote_types(weight.dtype, torch.float32))
    quarters = [halved for rows in _halved(exact, 2) for halved in _halved(rows, 3)]
    return torch.cat(quarters).to(weight.dtype).contiguous(memory_format=torch.channels_last)


def _halved(weight: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """What three taps over doubled pixels are over the pixels themselves: of even places, and of odd ones; two taps each."""
    first, second, third = weight.unbind(dim)
    return torch.stack([first, second + third], dim), torch.stack([first + second, third], dim)
