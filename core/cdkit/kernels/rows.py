"""layer_normed: the normalisation of tokens (Ba et al. 2016, arXiv 1607.06450), in h's dtype whatever the weights' is."""

from __future__ import annotations

from torch import Tensor, nn

from cdkit.kernels.switch import has_triton, is_fast

WIDEST = 8192  # channels of a row that a program holds


def layer_normed(norm: nn.LayerNorm, h: Tensor) -> Tensor:
    """norm(h), h (..., C) over its last dimension: by a kernel where it may."""
    if not (is_fast() and h.is_cuda and has_triton() and h.is_contiguous() and h.shape[-1:] <= (WIDEST,)):
        return norm(h)
    from cdkit.kernels.rows_triton import LayerNormFunction

    return LayerNormFunction.apply(h, norm.weight, norm.bias, norm.eps)
