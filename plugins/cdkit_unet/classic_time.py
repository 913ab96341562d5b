"""The textbook's time embedding: [sin | cos] positions (Vaswani 2017, arXiv 1706.03762; Ho 2020, arXiv 2006.11239)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LONGEST_PERIOD = 10_000


class SinusoidalPositionEmbeddings(nn.Module):
    """t (B,) -> (B, dim) float32, [sin(t f) | cos(t f)] with f = 10000^(-i / (half - 1)), i = 0 .. half - 1; dim >= 4."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        if dim < 4:
            raise ValueError(f"width is {dim}, but the time's sinusoids need at least 4 channels")
        self.dim = dim

    def forward(self, t: Tensor) -> Tensor:
        half = self.dim // 2
        step = math.log(LONGEST_PERIOD) / (half - 1)
        frequencies = torch.exp(-step * torch.arange(half, dtype=torch.float32, device=t.device))
        angles = t.float()[:, None] * frequencies[None]
        return F.pad(torch.cat([angles.sin(), angles.cos()], dim=1), (0, self.dim % 2))


class TimeMlp(nn.Module):
    """t (B,) -> (B, E): positions, Linear, GELU, Linear."""

    def __init__(self, dim: int, embedding: int) -> None:
        super().__init__()
        self.positions = SinusoidalPositionEmbeddings(dim)
        self.mlp = nn.Sequential(nn.Linear(dim, embedding), nn.GELU(), nn.Linear(embedding, embedding))

    def forward(self, t: Tensor, dtype: torch.dtype) -> Tensor:
        return self.mlp(self.positions(t).to(dtype))
