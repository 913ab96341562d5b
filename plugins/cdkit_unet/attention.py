"""SelfAttention over a picture's tokens and whatever a `sequence` site joined to them (Vaswani 2017, arXiv 1706.03762)."""

from __future__ import annotations

import torch
from cdkit.parts import Joined, SelfAttending, Settling, attention
from torch import Tensor, nn
from torch.nn import functional as F


class SelfAttention(nn.Module, SelfAttending, Settling):
    """Joined tokens (B, N + M, C) -> (B, N, C): the first n rows ask, all rows that the mask counts answer, and what was joined
    as keys and values. The last projection, `to_out`, is left to who adds the answer.

    Queries of the other rows would be thrown away with their answers, so they are never made.
    """

    def __init__(self, channels: int, heads: int, stride: int = 1) -> None:
        super().__init__()
        self.heads = heads
        self.stride = stride
        self.to_q = nn.Linear(channels, channels, bias=False)
        self.to_k = nn.Linear(channels, channels, bias=False)
        self.to_v = nn.Linear(channels, channels, bias=False)
        self.to_out = nn.Linear(channels, channels)
        self.together: Tensor | None = None  # the three projections as one matrix, once they are settled

    def forward(self, joined: Joined, n: int) -> Tensor:
        q, k, v = self._projected(joined.tokens, n)
        return attention(q, *joined.with_own(k, v), joined.mask, heads=self.heads)

    def _projected(self, tokens: Tensor, n: int) -> tuple[Tensor, Tensor, Tensor]:
        if self.together is not None and tokens.shape[1] == n:
            q, k, v = F.linear(tokens, self.together).chunk(3, dim=-1)
            return q, k, v
        return self.to_q(tokens[:, :n]), self.to_k(tokens), self.to_v(tokens)

    def settle(self) -> None:
        """Queries, keys and values in one product; each projection's weight is a part of the one matrix."""
        layers = (self.to_q, self.to_k, self.to_v)
        self.together = torch.cat([layer.weight.detach() for layer in layers])
        for layer, part in zip(layers, self.together.chunk(3), strict=True):
            layer.weight.data = part
