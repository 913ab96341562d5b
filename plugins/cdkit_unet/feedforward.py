"""FeedForward with a gated GELU (Shazeer 2020, arXiv 2002.05202)."""

from __future__ import annotations

from cdkit.parts import geglu
from torch import Tensor, nn


class FeedForward(nn.Module):
    """(B, N, C) -> (B, N, 4C): one projection to 2 x 4C, values first and gates second; value * gelu(gate), exact. The last
    projection, `out` from 4C to C, is left to who adds the answer.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.proj = nn.Linear(channels, 8 * channels)
        self.out = nn.Linear(4 * channels, channels)

    def forward(self, h: Tensor) -> Tensor:
        return geglu(self.proj, h)
