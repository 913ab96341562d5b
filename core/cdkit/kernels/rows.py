"""layer_normed: the normalisation of tokens (Ba et al. 2016, arXiv 1607.06450), in h's dtype whatever the weights' is."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from cdkit.kernels.switch import has_triton, is_fast

WIDEST = 8192  # channels of a row that a program holds


def layer_normed(norm: nn.LayerNorm, h: Tensor) -> Tensor:
    """h (..., C) over its last dimension, as `norm` does it: by a kernel where it may."""
    weight, bias = norm.weight, norm.bias
    if is_fast() and h.is_cuda and has_triton() and h.is_contiguous() and norm.normalized_shape == h.shape[-1:] <= (WIDEST,):
        from cdkit.kernels.rows_triton import LayerNormFunction

        return LayerNormFunction.apply(h, weight, bias, norm.eps)
    return F.layer_norm(h, norm.normalized_shape, weight, bias, norm.eps)
