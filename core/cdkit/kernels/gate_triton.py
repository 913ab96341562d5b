"""The gated GELU in Triton, with its gradient."""

# pyright: reportUnknownParameterType=false, reportMissingParameterType=false, reportUntypedFunctionDecorator=false
# pyright: reportUnknownArgumentType=false, reportArgumentType=false
# Triton's functions are compiled from their source: their parameters are pointers, numbers and compile-time constants.

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

ROWS, COLUMNS = 8, 256  # of a tile


@triton.jit
def _split(both, N, K, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """A tile's values and gates, the share of each gate that passes, and where they lie in `both` and in the answer."""
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    k = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    counts = (row < N)[:, None] & (k < K)[None, :]
    at = row[:, None] * 2 * K + k[None, :]
    value = tl.load(both + at, mask=counts, other=0.0).to(tl.float32)
    gate = tl.load(both + at + K, mask=counts, other=0.0).to(tl.float32)
    share = 0.5 * (1 + tl.erf(gate * 0.7071067811865476))
    return value, gate, share, at, row[:, None] * K + k[None, :], counts


@triton.jit
def _up(both, out, N, K, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    value, gate, share, _, place, counts = _split(both, N, K, ROWS, COLUMNS)
    tl.store(out + place, (value * gate * share).to(out.dtype.element_ty), mask=counts)


@triton.jit
def _down(both, grad, dboth, N, K, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    value, gate, share, at, place, counts = _split(both, N, K, ROWS, COLUMNS)
    d = tl.load(grad + place, mask=counts, other=0.0).to(tl.float32)
    slope = share + gate * tl.exp(-0.5 * gate * gate) * 0.3989422804014327
    tl.store(dboth + at, (d * gate * share).to(dboth.dtype.element_ty), mask=counts)
    tl.store(dboth + at + K, (d * value * slope).to(dboth.dtype.element_ty), mask=counts)


def _tiles(n: int, k: int) -> tuple[int, int]:
    return triton.cdiv(n, ROWS), triton.cdiv(k, COLUMNS)


class GeluGateFunction(torch.autograd.Function):
    """`gelu_gate` of a contiguous tensor on a GPU; its input is all that is kept."""

    @staticmethod
    def forward(ctx: Any, both: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        k = both.shape[-1] // 2
        out = both.new_empty((*both.shape[:-1], k))
        n = out.numel() // k
        _up[_tiles(n, k)](both, out, n, k, ROWS=ROWS, COLUMNS=COLUMNS)
        ctx.save_for_backward(both)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (both,) = ctx.saved_tensors
        k = both.shape[-1] // 2
        dboth = torch.empty_like(both)
        grad = grads[0].contiguous()
        n = grad.numel() // k
        _down[_tiles(n, k)](both, grad, dboth, n, k, ROWS=ROWS, COLUMNS=COLUMNS)
        return dboth
