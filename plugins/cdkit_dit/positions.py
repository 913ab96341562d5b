"""Fixed positions of patches: sines and cosines of rows and of columns (Peebles and Xie 2023, arXiv 2212.09748)."""

from __future__ import annotations

import torch
from einops import rearrange, repeat
from torch import Tensor

LONGEST_PERIOD = 10_000


def positions(rows: int, columns: int, width: int) -> Tensor:
    """(1, width, rows, columns) float32: half of the channels tell the column, half the row, each [sin | cos]; 4 | width."""
    column = repeat(_sinusoids(columns, width // 2), "columns d -> d rows columns", rows=rows)
    row = repeat(_sinusoids(rows, width // 2), "rows d -> d rows columns", columns=columns)
    return rearrange(torch.cat([column, row]), "d rows columns -> 1 d rows columns")


def _sinusoids(count: int, width: int) -> Tensor:
    half = width // 2
    frequencies = LONGEST_PERIOD ** (-torch.arange(half, dtype=torch.float64) / half)
    angles = torch.arange(count, dtype=torch.float64)[:, None] * frequencies[None]
    return torch.cat([angles.sin(), angles.cos()], dim=1).float()
