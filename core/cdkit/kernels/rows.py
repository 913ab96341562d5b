"""layer_normed: the normalisation of tokens (Ba et al. 2016, arXiv 1607.06450), in h's dtype whatever the weights' is."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cdkit.kernels.switch import takes

WIDEST = 8192  # channels of a row that a program holds


def layer_normed(norm: nn.LayerNorm, h: Tensor) -> Tensor:
    """norm(h), h (..., C) over its last dimension: by a kernel where it may."""
    if not _suits(h):
        return norm(h)
    from cdkit.kernels.rows_triton import LayerNormFunction

    return LayerNormFunction.apply(h, norm.weight, norm.bias, norm.eps)


def opens(h: Tensor) -> bool:
    """Is there a kernel of `opened` for h? Not while gradients are asked for."""
    return _suits(h) and not torch.is_grad_enabled()


def opened(norm: nn.LayerNorm, h: Tensor, more: Tensor) -> tuple[Tensor, Tensor]:
    """norm(h) and h + more, in one pass: h (..., C), for which `opens` holds, and more (C,)."""
    from cdkit.kernels.rows_triton import forward

    normed, _, _, moved = forward(h, norm.weight, norm.bias, norm.eps, more)
    return normed, moved


def _suits(h: Tensor) -> bool:
    return takes(h) and h.is_contiguous() and h.shape[-1:] <= (WIDEST,)
