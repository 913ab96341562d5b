"""attention (Vaswani 2017, arXiv 1706.03762): by a kernel over few words, by another for heads that the library is slow at."""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional as F

from cdkit.kernels.hopper import gluon_knows, lies_for_tiles
from cdkit.kernels.switch import takes
from cdkit.kernels.words import attended, attends

WIDTH = 40  # channels of a head: Stable Diffusion 1's, where most of its rows are; the library does them as if they were 64
ROWS = 256  # that a program answers


def attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, *, heads: int) -> Tensor:
    """softmax(q k^T / sqrt(C / heads)) v, every head: q (B, N, C), k and v (B, L, C), mask (B, L) bool over keys, never all
    False, or None -> (B, N, C).

    The kernel for parts of one matrix takes exponents relative to the largest of a row's first 64 scores. Softmax is the same
    from wherever they are taken; should a score lie so far beyond that its weight is 2^100, which shows in the row's sum, the
    rows are done again, relative to the largest so far.
    """
    if mask is None and attends(q, k, v, heads):
        return attended(q, k, v, heads)
    together = side_by_side(q, k, v) if mask is None and _suits(q, heads) else None
    if together is not None:
        from cdkit.kernels.self_attention_gluon import launch

        return launch(together, heads)
    split = [rearrange(x, "b n (heads d) -> b heads n d", heads=heads) for x in (q, k, v)]
    counts = None if mask is None else rearrange(mask, "b keys -> b 1 1 keys")
    return rearrange(F.scaled_dot_product_attention(*split, attn_mask=counts), "b heads n d -> b n (heads d)")


def side_by_side(q: Tensor, k: Tensor, v: Tensor) -> Tensor | None:
    """The one matrix (B, N, 3 C) that all three are parts of, in this order; None where they are not."""
    b, n, c = q.shape
    wide = (n * 3 * c, 3 * c, 1)
    if not q.shape == k.shape == v.shape or not q.stride() == k.stride() == v.stride() == wide:
        return None
    apart = c * q.element_size()
    follow = k.data_ptr() - q.data_ptr() == v.data_ptr() - k.data_ptr() == apart
    return q.as_strided((b, n, 3 * c), wide) if follow else None


def _suits(q: Tensor, heads: int) -> bool:
    """Are rows of one matrix, if that is what q is of, what the kernel in Gluon is for?"""
    return (
        takes(q)
        and not torch.is_grad_enabled()
        and q.dtype == torch.bfloat16
        and q.shape[-1] == heads * WIDTH
        and q.shape[1] % ROWS == 0
        and gluon_knows(q.device)
        and lies_for_tiles(q)
    )
