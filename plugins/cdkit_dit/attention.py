"""SelfAttention over patches and whatever a `sequence` site joined to them."""

from __future__ import annotations

from collections.abc import Iterator

from cdkit.parts import Adaptable, Joined, SelfAttending, attention
from einops import rearrange
from torch import Tensor, nn


class SelfAttention(nn.Module, SelfAttending):
    """Joined tokens (B, N + M, C) -> (B, N, C): the first n rows ask, all rows that the mask counts answer.

    So do keys and values that were joined already projected.
    """

    def __init__(self, width: int, heads: int, stride: int = 1) -> None:
        super().__init__()
        self.heads = heads
        self.stride = stride
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, joined: Joined, n: int) -> Tensor:
        q, k, v = self.qkv(joined.tokens).chunk(3, dim=2)
        return self.proj(attention(q[:, :n], *joined.with_own(k, v), joined.mask, heads=self.heads))


def split_qkv(path: str, layer: nn.Linear | nn.Conv2d) -> Iterator[tuple[str, Adaptable]]:
    """A layer by its path, those of an attention by the names that everybody gives them; `qkv` is three, by its rows."""
    stem, _, last = path.rpartition(".")
    if last == "proj":
        yield f"{stem}.to_out", Adaptable(layer)
    elif last != "qkv":
        yield path, Adaptable(layer)
    else:
        each = layer.weight.shape[0] // 3
        for i, name in enumerate(("to_q", "to_k", "to_v")):
            yield f"{stem}.{name}", Adaptable(layer, slice(i * each, (i + 1) * each))


def over_keys(mask: Tensor | None) -> Tensor | None:
    """(B, L) bool over keys -> (B, 1, 1, L), for every head and query. Never all False: a picture's own rows count."""
    return None if mask is None else rearrange(mask, "b keys -> b 1 1 keys")
