"""plus: a map, another, and a number a channel, added in one pass."""

from __future__ import annotations

import torch
from torch import Tensor

from cdkit.kernels.switch import takes


def adds(h: Tensor) -> bool:
    """Is there a kernel for h (B, C, H, W)?"""
    return takes(h) and h.is_contiguous(memory_format=torch.channels_last)


def plus(h: Tensor, more: Tensor, bias: Tensor) -> Tensor:
    """h + more + bias: maps (B, C, H, W) with channels side by side, for which `adds` holds, and bias (C,); in h's dtype."""
    from cdkit.kernels.plus_triton import PlusFunction

    return PlusFunction.apply(h, more, bias)
