"""One stream's own half of a joint block: its norms, its modulation and its feed-forward (Esser et al. 2024, figure 2b)."""

from __future__ import annotations

from cdkit.parts import Layout, Signals, SiteKind
from torch import Tensor, nn

from cdkit_dit.block import Open
from cdkit_dit.modulation import Modulation, modulate


class JointStream(nn.Module):
    """h (B, N, C) is normalised and modulated for the attention, and what that answers is gated and added; then so the MLP's."""

    def __init__(self, open_site: Open, name: str, width: int, *, embedding: int, mlp_ratio: float) -> None:
        super().__init__()
        self.modulation = Modulation(embedding, width, 6)
        self.norm1 = nn.LayerNorm(width, eps=1e-6, elementwise_affine=False)
        self.norm1_site = open_site(f"{name}.norm1", "norm", "tokens")
        self.branch1_site = open_site(f"{name}.branch1", "branch", "tokens")
        self.attend = open_site(f"{name}.attend", "attend", "tokens")
        self.norm2 = nn.LayerNorm(width, eps=1e-6, elementwise_affine=False)
        self.norm2_site = open_site(f"{name}.norm2", "norm", "tokens")
        hidden = round(width * mlp_ratio)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(approximate="tanh"), nn.Linear(hidden, width))
        self.branch2_site = open_site(f"{name}.branch2", "branch", "tokens")

    def enter(self, h: Tensor, emb: Tensor, signals: Signals) -> tuple[Tensor, tuple[Tensor, ...]]:
        """h and emb (B, E) -> what the attention reads (B, N, C), and what the modulation says of `leave`."""
        shift1, scale1, *later = self.modulation(emb)
        return self.norm1_site(modulate(self.norm1(h), shift1, scale1), signals, emb), tuple(later)

    def leave(self, h: Tensor, asked: Tensor, later: tuple[Tensor, ...], emb: Tensor, signals: Signals) -> Tensor:
        """h as it entered and what its rows were answered, both (B, N, C) -> (B, N, C)."""
        gate1, shift2, scale2, gate2 = later
        h = h + self.branch1_site(gate1 * asked, signals, emb)
        h = self.attend(h, signals, emb)
        normed = self.norm2_site(modulate(self.norm2(h), shift2, scale2), signals, emb)
        return h + self.branch2_site(gate2 * self.mlp(normed), signals, emb)


class LastWords(nn.Module):
    """The words' half of the last block: they answer, and nobody asks what becomes of them (SD3's `context_pre_only`)."""

    def __init__(self, width: int, *, embedding: int) -> None:
        super().__init__()
        self.modulation = Modulation(embedding, width, 2)
        self.norm1 = nn.LayerNorm(width, eps=1e-6, elementwise_affine=False)

    def enter(self, words: Tensor, emb: Tensor, signals: Signals) -> tuple[Tensor, tuple[Tensor, ...]]:
        del signals
        return modulate(self.norm1(words), *self.modulation(emb)), ()

    def leave(self, words: Tensor, asked: Tensor, later: tuple[Tensor, ...], emb: Tensor, signals: Signals) -> Tensor:
        del asked, later, emb, signals
        return words


class Closed(nn.Module):
    """No site: the words are a condition themselves, and a method that changed them where there are none would be lost."""

    def forward(self, h: Tensor, signals: Signals, emb: Tensor) -> Tensor:
        del signals, emb
        return h


def closed(name: str, kind: SiteKind, layout: Layout) -> nn.Module:
    """An Open that opens nothing."""
    del name, kind, layout
    return Closed()
