"""The textbook's self-attention over a map, and the door by which words get to it."""

from __future__ import annotations

from collections.abc import Iterator

from cdkit.parts import Adaptable, Joined, Signals, attention
from einops import rearrange
from torch import Tensor, nn

from cdkit_unet.common import Common


class Attention(nn.Module):
    """h (B, dim, H, W) -> the same shape, not yet added: every pixel asks, every pixel and all that was joined answers.

    `to_qkv` is one 1 x 1 convolution without bias, `to_out` another with one; `heads` heads of `head_dim` channels at any dim.
    """

    def __init__(self, common: Common, name: str, dim: int, stride: int, *, heads: int, head_dim: int) -> None:
        super().__init__()
        self.heads = heads
        self.sequence = common.open(f"{name}.sequence", "sequence", "tokens", dim, stride, keys=heads * head_dim)
        self.to_qkv = nn.Conv2d(dim, 3 * heads * head_dim, 1, bias=False)
        self.to_out = nn.Conv2d(heads * head_dim, dim, 1)

    def forward(self, h: Tensor, emb: Tensor, signals: Signals) -> Tensor:
        joined: Joined = self.sequence(rearrange(h, "b c h w -> b (h w) c"), signals, emb)
        qkv = self.to_qkv(rearrange(joined.tokens, "b n c -> b c n 1"))
        q, k, v = rearrange(qkv, "b (three c) n 1 -> three b n c", three=3)
        rows = h.shape[2] * h.shape[3]  # the picture's own tokens come first
        out = attention(q[:, :rows], *joined.with_own(k, v), joined.mask, heads=self.heads)
        return self.to_out(rearrange(out, "b (h w) c -> b c h w", h=h.shape[2]))


def split_qkv(path: str, layer: nn.Linear | nn.Conv2d) -> Iterator[tuple[str, Adaptable]]:
    """A layer by its path; the fused one of an attention by the rows of queries, keys and values."""
    stem, _, last = path.rpartition(".")
    if last != "to_qkv":
        yield path, Adaptable(layer)
        return
    each = layer.weight.shape[0] // 3
    for i, name in enumerate(("to_q", "to_k", "to_v")):
        yield f"{stem}.{name}", Adaptable(layer, slice(i * each, (i + 1) * each))


class Attend(nn.Module):
    """An `attend` site on a map: (B, C, H, W) told as tokens (B, H W, C) and back."""

    def __init__(self, common: Common, name: str, dim: int, stride: int) -> None:
        super().__init__()
        self.site = common.open(name, "attend", "tokens", dim, stride)

    def forward(self, h: Tensor, emb: Tensor, signals: Signals) -> Tensor:
        tokens = self.site(rearrange(h, "b c h w -> b (h w) c"), signals, emb)
        return rearrange(tokens, "b (h w) c -> b c h w", h=h.shape[2])
