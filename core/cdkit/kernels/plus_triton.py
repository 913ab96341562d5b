"""The sum of two maps and a number a channel, in Triton."""

# pyright: reportUnknownParameterType=false, reportMissingParameterType=false, reportUntypedFunctionDecorator=false
# pyright: reportUnknownArgumentType=false, reportArgumentType=false
# Triton's functions are compiled from their source: their parameters are pointers, numbers and compile-time constants.

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from cdkit.kernels.start import started

ROWS, COLUMNS = 16, 64


@triton.jit
def _plus(h, more, bias, out, N, C, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    r = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    c = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    inside = (r < N)[:, None] & (c < C)[None, :]
    at = r[:, None] * C + c[None, :]
    total = tl.load(h + at, mask=inside, other=0.0).to(tl.float32) + tl.load(more + at, mask=inside, other=0.0).to(tl.float32)
    total += tl.load(bias + c, mask=c < C, other=0.0).to(tl.float32)[None, :]
    tl.store(out + at, total.to(out.dtype.element_ty), mask=inside)


def launch(h: Tensor, more: Tensor, bias: Tensor) -> Tensor:
    """h and more (B, C, H, W) of one dtype, channels side by side."""
    out = torch.empty_like(h)
    c = h.shape[1]
    n = h.numel() // c
    more = more.contiguous(memory_format=torch.channels_last)
    started(_plus, (triton.cdiv(n, ROWS), triton.cdiv(c, COLUMNS)))(h, more, bias, out, n, c, ROWS=ROWS, COLUMNS=COLUMNS)
    return out


class PlusFunction(torch.autograd.Function):
    """`plus` of maps on a GPU; nothing is kept for the gradient."""

    @staticmethod
    def forward(ctx: Any, h: Tensor, more: Tensor, bias: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx.dtypes = more.dtype, bias.dtype
        return launch(h, more, bias)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        (grad,) = grads
        more, bias = ctx.dtypes
        return grad, grad.to(more), grad.sum((0, 2, 3), dtype=torch.float32).to(bias)
