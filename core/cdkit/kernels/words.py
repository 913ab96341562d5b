"""attended: every query asks, few keys answer (Vaswani 2017, arXiv 1706.03762): by a kernel that holds all the keys."""

from __future__ import annotations

import torch
from torch import Tensor

from cdkit.kernels.switch import takes

FEW = 128  # keys
WIDEST = 64  # channels of a head: with 80 the library's takes as long, and another kernel would have to be compiled
DTYPES = (torch.bfloat16, torch.float16)


def attends(q: Tensor, k: Tensor, v: Tensor, heads: int) -> bool:
    """Is there a kernel of `attended` for the four? Not while gradients are asked for."""
    return (
        takes(q)
        and not torch.is_grad_enabled()
        and q.dtype == k.dtype == v.dtype
        and q.dtype in DTYPES
        and q.is_contiguous()
        and k.stride(-1) == v.stride(-1) == 1
        and len(q) == len(k)
        and k.shape == v.shape
        and 0 < k.shape[1] <= FEW
        and q.shape[-1] <= WIDEST * heads
    )


def attended(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
    """softmax(q k^T / sqrt(C / heads)) v, every head: q (B, N, C), k and v (B, L, C), for which `attends` holds, to q's shape."""
    from cdkit.kernels.words_triton import launch

    return launch(q, k, v, heads)
