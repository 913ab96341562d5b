"""adaLN: scales, shifts and gates out of the time embedding (Peebles and Xie 2023, arXiv 2212.09748, figure 3)."""

from __future__ import annotations

from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F


class Modulation(nn.Module):
    """emb (B, E) -> `parts` tensors (B, 1, C) that vary over no token. Starts at zero: no shift, no scale, no branch."""

    def __init__(self, embedding: int, width: int, parts: int) -> None:
        super().__init__()
        self.parts = parts
        self.linear = nn.Linear(embedding, parts * width)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, emb: Tensor) -> tuple[Tensor, ...]:
        return tuple(rearrange(self.linear(F.silu(emb)), "b (parts c) -> parts b 1 c", parts=self.parts))


def modulate(h: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """h (B, N, C) * (1 + scale) + shift."""
    return h * (1 + scale) + shift
