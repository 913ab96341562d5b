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

BLOCK = 1024


@triton.jit
def _split(both, K, BLOCK: tl.constexpr):
    row, k = tl.program_id(0).to(tl.int64), tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    counts = k < K
    at = row * 2 * K + k
    value = tl.load(both + at, mask=counts, other=0.0).to(tl.float32)
    gate = tl.load(both + at + K, mask=counts, other=0.0).to(tl.float32)
    share = 0.5 * (1 + tl.erf(gate * 0.7071067811865476))
    return value, gate, share, row, k, counts


@triton.jit
def _up(both, out, K, BLOCK: tl.constexpr):
    value, gate, share, row, k, counts = _split(both, K, BLOCK)
    tl.store(out + row * K + k, (value * gate * share).to(out.dtype.element_ty), mask=counts)


@triton.jit
def _down(both, grad, dboth, K, BLOCK: tl.constexpr):
    value, gate, share, row, k, counts = _split(both, K, BLOCK)
    d = tl.load(grad + row * K + k, mask=counts, other=0.0).to(tl.float32)
    slope = share + gate * tl.exp(-0.5 * gate * gate) * 0.3989422804014327
    at = row * 2 * K + k
    tl.store(dboth + at, (d * gate * share).to(dboth.dtype.element_ty), mask=counts)
    tl.store(dboth + at + K, (d * value * slope).to(dboth.dtype.element_ty), mask=counts)


class GeluGateFunction(torch.autograd.Function):
    """`gelu_gate` of a contiguous tensor on a GPU; its input is all that is kept."""

    @staticmethod
    def forward(ctx: Any, both: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        k = both.shape[-1] // 2
        out = both.new_empty((*both.shape[:-1], k))
        _up[(out.numel() // k, triton.cdiv(k, BLOCK))](both, out, k, BLOCK=BLOCK)
        ctx.save_for_backward(both)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (both,) = ctx.saved_tensors
        k = both.shape[-1] // 2
        dboth = torch.empty_like(both)
        grad = grads[0].contiguous()
        _down[(grad.numel() // k, triton.cdiv(k, BLOCK))](both, grad, dboth, k, BLOCK=BLOCK)
        return dboth
