"""SelfAttention over a picture's tokens and whatever a `sequence` site joined to them (Vaswani 2017, arXiv 1706.03762)."""

from __future__ import annotations

import torch
from cdkit.parts import Joined, SelfAttending, Settling, self_attended, self_attends
from einops import rearrange
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
        tokens, together = joined.tokens, self._projected(joined.tokens, n)
        if together is not None and joined.mask is None and joined.keys is None and self_attends(together, self.heads):
            return self_attended(together, self.heads)
        made = (self.to_q(tokens[:, :n]), self.to_k(tokens), self.to_v(tokens)) if together is None else together.chunk(3, dim=-1)
        q, (k, v) = made[0], joined.with_own(*made[1:])
        out = F.scaled_dot_product_attention(*map(self._split, (q, k, v)), attn_mask=over_keys(joined.mask))
        return rearrange(out, "b heads n d -> b n (heads d)")

    def _projected(self, tokens: Tensor, n: int) -> Tensor | None:
        """Queries, keys and values (B, N, 3 C) in one product, where all rows ask."""
        return F.linear(tokens, self.together) if self.together is not None and tokens.shape[1] == n else None

    def settle(self) -> None:
        """Queries, keys and values in one product; each projection's weight is a part of the one matrix."""
        layers = (self.to_q, self.to_k, self.to_v)
        self.together = torch.cat([layer.weight.detach() for layer in layers])
        for layer, part in zip(layers, self.together.chunk(3), strict=True):
            layer.weight.data = part

    def _split(self, x: Tensor) -> Tensor:
        return rearrange(x, "b n (heads d) -> b heads n d", heads=self.heads)


def over_keys(mask: Tensor | None) -> Tensor | None:
    """(B, L) bool over keys -> (B, 1, 1, L), for every head and query. Never all False: a picture's own rows count."""
    return None if mask is None else rearrange(mask, "b keys -> b 1 1 keys")
