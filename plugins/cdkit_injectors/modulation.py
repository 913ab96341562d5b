"""Scales, shifts and gates of h, whatever its layout."""

from __future__ import annotations

from cdkit.parts import Layout
from einops import rearrange
from torch import Tensor, nn

BESIDE = {"map": "b c -> b c 1 1", "tokens": "b c -> b 1 c", "vector": "b c -> b c"}


def beside(vector: Tensor, layout: Layout) -> Tensor:
    """A vector (B, C) so that it meets every row and column, or every token, of h in this layout."""
    return rearrange(vector, BESIDE[layout])


def modulate(h: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """h (1 + scale) + shift, in h's dtype; scale and shift broadcast to h."""
    return (h * (1 + scale) + shift).to(h.dtype)


def silent_linear(inputs: int, outputs: int, *, bias: bool = True) -> nn.Linear:
    """A Linear that starts at zero, so that what it says at birth is nothing."""
    linear = nn.Linear(inputs, outputs, bias=bias)
    for parameter in linear.parameters():
        nn.init.zeros_(parameter)
    return linear
