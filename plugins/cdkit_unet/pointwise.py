"""PointwiseConv: a 1 x 1 convolution, which is a matrix: taken as one where the channels of a map lie side by side."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class PointwiseConv(nn.Conv2d):
    """(B, C, H, W) -> (B, C', H, W); its weight is (C', C, 1, 1)."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__(channels, out, 1)

    def forward(self, input: Tensor) -> Tensor:
        if not input.is_cuda or not input.is_contiguous(memory_format=torch.channels_last):
            return super().forward(input)
        return F.linear(input.permute(0, 2, 3, 1), self.weight.flatten(1), self.bias).permute(0, 3, 1, 2)
