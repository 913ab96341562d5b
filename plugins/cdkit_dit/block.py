"""The block of a diffusion transformer with adaLN-Zero for the time (Peebles and Xie 2023, arXiv 2212.09748)."""

from __future__ import annotations

from collections.abc import Callable

from cdkit.parts import Layout, Signals, SiteKind
from torch import Tensor, nn

from cdkit_dit.attention import SelfAttention
from cdkit_dit.modulation import Modulation, modulate

Open = Callable[[str, SiteKind, Layout], nn.Module]  # a slot at a site of this name, among the tokens


class Block(nn.Module):
    """h (B, N, C), emb (B, E) -> (B, N, C): attention and a feed-forward, each normalised, modulated, gated by the time, added.

    The time's gates start at zero, as published; the sites `branch` come after them.
    """

    def __init__(
        self, open_site: Open, name: str, width: int, *, embedding: int, heads: int, mlp_ratio: float, stride: int = 1
    ) -> None:
        super().__init__()
        self.modulation = Modulation(embedding, width, 6)
        self.norm1 = nn.LayerNorm(width, eps=1e-6, elementwise_affine=False)
        self.norm1_site = open_site(f"{name}.norm1", "norm", "tokens")
        self.sequence = open_site(f"{name}.sequence", "sequence", "tokens")
        self.attn = SelfAttention(width, heads, stride)
        self.branch1_site = open_site(f"{name}.branch1", "branch", "tokens")
        self.attend = open_site(f"{name}.attend", "attend", "tokens")
        self.norm2 = nn.LayerNorm(width, eps=1e-6, elementwise_affine=False)
        self.norm2_site = open_site(f"{name}.norm2", "norm", "tokens")
        hidden = round(width * mlp_ratio)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(approximate="tanh"), nn.Linear(hidden, width))
        self.branch2_site = open_site(f"{name}.branch2", "branch", "tokens")

    def forward(self, h: Tensor, emb: Tensor, signals: Signals) -> Tensor:
        shift1, scale1, gate1, shift2, scale2, gate2 = self.modulation(emb)
        normed = self.norm1_site(modulate(self.norm1(h), shift1, scale1), signals, emb)
        asked = self.attn(self.sequence(normed, signals, emb), h.shape[1])
        h = h + self.branch1_site(gate1 * asked, signals, emb)
        h = self.attend(h, signals, emb)
        normed = self.norm2_site(modulate(self.norm2(h), shift2, scale2), signals, emb)
        return h + self.branch2_site(gate2 * self.mlp(normed), signals, emb)
