"""SelfAttention over a picture's tokens and whatever a `sequence` site joined to them (Vaswani 2017, arXiv 1706.03762)."""

from __future__ import annotations

from cdkit.parts import Joined
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F


class SelfAttention(nn.Module):
    """Joined tokens (B, N + M, C) -> (B, N, C): the first n rows ask, all rows that the mask counts answer, and what was joined
    as keys and values.

    Queries of the other rows would be thrown away with their answers, so they are never made.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_q = nn.Linear(channels, channels, bias=False)
        self.to_k = nn.Linear(channels, channels, bias=False)
        self.to_v = nn.Linear(channels, channels, bias=False)
        self.to_out = nn.Linear(channels, channels)

    def forward(self, joined: Joined, n: int) -> Tensor:
        q = self._split(self.to_q(joined.tokens[:, :n]))
        k, v = joined.with_own(self.to_k(joined.tokens), self.to_v(joined.tokens))
        out = F.scaled_dot_product_attention(q, self._split(k), self._split(v), attn_mask=over_keys(joined.mask))
        return self.to_out(rearrange(out, "b heads n d -> b n (heads d)"))

    def _split(self, x: Tensor) -> Tensor:
        return rearrange(x, "b n (heads d) -> b heads n d", heads=self.heads)


def over_keys(mask: Tensor | None) -> Tensor | None:
    """(B, L) bool over keys -> (B, 1, 1, L), for every head and query. Never all False: a picture's own rows count."""
    return None if mask is None else rearrange(mask, "b keys -> b 1 1 keys")
