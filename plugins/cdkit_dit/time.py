"""The time embedding of the diffusion transformer: 256 sinusoids, Linear, SiLU, Linear (Peebles and Xie 2023)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

FREQUENCIES = 256
LONGEST_PERIOD = 10_000


def sinusoids(t: Tensor) -> Tensor:
    """t (B,) -> (B, 256) float32, [cos(t f) | sin(t f)] with f = 10000^(-i / 128)."""
    half = FREQUENCIES // 2
    exponents = -math.log(LONGEST_PERIOD) * torch.arange(half, dtype=torch.float32, device=t.device) / half
    angles = t.float()[:, None] * exponents.exp()[None]
    return torch.cat([angles.cos(), angles.sin()], dim=1)


class TimeEmbedding(nn.Module):
    """t (B,) -> (B, E). Weights start with standard deviation 0.02, as published."""

    def __init__(self, embedding: int) -> None:
        super().__init__()
        self.linear1 = nn.Linear(FREQUENCIES, embedding)
        self.linear2 = nn.Linear(embedding, embedding)
        for linear in (self.linear1, self.linear2):
            nn.init.normal_(linear.weight, std=0.02)
            nn.init.zeros_(linear.bias)

    def forward(self, t: Tensor, dtype: torch.dtype) -> Tensor:
        return self.linear2(F.silu(self.linear1(sinusoids(t).to(dtype))))
