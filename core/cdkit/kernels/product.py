"""Products whose answers are worked on before they are written, on GPUs of the Hopper family: gated, or added to what is there.

Only where no gradient is asked for: one needs what is not written.
"""

from __future__ import annotations

import torch
from torch import Tensor

from cdkit.kernels.hopper import gluon_knows, lies_for_tiles
from cdkit.kernels.switch import takes

DTYPES = (torch.bfloat16, torch.float16)


def gates(x: Tensor, weight: Tensor, bias: Tensor | None) -> bool:
    """Is there a kernel of `gated_product` for the three?"""
    return bias is not None and _suits(x, weight)


def gated_product(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """(..., K) -> (..., N): value * gelu(gate) of x weight^T + bias, weight (2 N, K) and bias (2 N,) values first (Shazeer 2020,
    arXiv 2002.05202). The sum is float32's until it is gated; gelu's share of a number is right to 7e-4 of itself, a fifth of
    what bfloat16 rounds by.
    """
    from cdkit.kernels.product_gluon import launch

    return launch(x.flatten(0, -2), weight, bias, None).view(*x.shape[:-1], -1)


def sums(weight: Tensor, bias: Tensor | None, more: Tensor, *, fewest: int, deepest: int) -> bool:
    """Is there a kernel of `summed_product` for the three, and is it sooner? So it is from `fewest` rows on, and up to `deepest`
    columns of what is multiplied; else the library's product is so much sooner that a pass more is.
    """
    return bias is not None and _suits(more, weight) and weight.shape[-1] <= deepest and more.numel() >= fewest * more.shape[-1]


def summed_product(x: Tensor, weight: Tensor, bias: Tensor, more: Tensor) -> Tensor:
    """more + x weight^T + bias: x (..., K) in more's dtype, weight (N, K), bias (N,), more (..., N); rounded once."""
    from cdkit.kernels.product_gluon import launch

    return launch(x.flatten(0, -2).contiguous(), weight, bias, more.flatten(0, -2)).view_as(more)


def _suits(rows: Tensor, weight: Tensor) -> bool:
    """Tiles are fetched and put by a unit that wants rows in one piece."""
    return (
        takes(rows)
        and not torch.is_grad_enabled()
        and gluon_knows(rows.device)
        and rows.dtype == weight.dtype
        and rows.dtype in DTYPES
        and rows.is_contiguous()
        and weight.is_contiguous()
        and rows.dim() > 1
        and len(weight) % 16 == 0
        and lies_for_tiles(rows, weight)
    )
