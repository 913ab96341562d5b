"""The time embedding: sinusoids, then a small network (Vaswani 2017, Ho 2020; [cos | sin] as in ADM)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LONGEST_PERIOD = 10_000


def sinusoids(t: Tensor, width: int) -> Tensor:
    """t (B,) -> (B, width) float32, [cos(t f) | sin(t f)] with f = 10000^(-i / half), i = 0 .. half - 1.

    float32 whatever t is: a time near 1000 has no room in bfloat16. An odd width ends in a zero.
    """
    half = width // 2
    exponents = -math.log(LONGEST_PERIOD) * torch.arange(half, dtype=torch.float32, device=t.device) / half
    angles = t.float()[:, None] * exponents.exp()[None]
    return F.pad(torch.cat([angles.cos(), angles.sin()], dim=1), (0, width % 2))


class TimeEmbedding(nn.Module):
    """t (B,) -> (B, E): sinusoids of the network's width, Linear, SiLU, Linear."""

    def __init__(self, width: int, embedding: int) -> None:
        super().__init__()
        self.width = width
        self.linear1 = nn.Linear(width, embedding)
        self.linear2 = nn.Linear(embedding, embedding)

    def forward(self, t: Tensor, dtype: torch.dtype) -> Tensor:
        return self.linear2(F.silu(self.linear1(sinusoids(t, self.width).to(dtype))))
