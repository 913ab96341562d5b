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

from cdkit.kernels.start import started

ROWS, COLUMNS = 8, 256  # of a tile
SHARES = 528  # programs that sum gradients of a bias: four for each multiprocessor of an H100


@triton.jit
def _split(both, bias, row, k, N, K, BIASED: tl.constexpr):
    """A tile's values and gates, the share of each gate that passes, and where they lie in `both` and in the answer."""
    counts = (row < N)[:, None] & (k < K)[None, :]
    at = row.to(tl.int64)[:, None] * 2 * K + k[None, :]
    value = tl.load(both + at, mask=counts, other=0.0).to(tl.float32)
    gate = tl.load(both + at + K, mask=counts, other=0.0).to(tl.float32)
    if BIASED:
        value += tl.load(bias + k, mask=k < K, other=0.0).to(tl.float32)[None, :]
        gate += tl.load(bias + K + k, mask=k < K, other=0.0).to(tl.float32)[None, :]
    share = 0.5 * (1 + tl.erf(gate * 0.7071067811865476))
    return value, gate, share, at, row.to(tl.int64)[:, None] * K + k[None, :], counts


@triton.jit
def _up(both, bias, out, N, K, BIASED: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    k = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    value, gate, share, _, place, counts = _split(both, bias, row, k, N, K, BIASED)
    tl.store(out + place, (value * gate * share).to(out.dtype.element_ty), mask=counts)


@triton.jit
def _down(
    both, bias, grad, dboth, sums, N, K, ROUNDS: tl.constexpr, BIASED: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr
):  # fmt: skip
    """ROUNDS times ROWS rows of dboth; BIASED: and their sum, sums (programs, 2 K)."""
    k = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    dvalue, dgate = tl.zeros((ROWS, COLUMNS), tl.float32), tl.zeros((ROWS, COLUMNS), tl.float32)
    for i in range(ROUNDS):
        row = (tl.program_id(0) * ROUNDS + i) * ROWS + tl.arange(0, ROWS)
        value, gate, share, at, place, counts = _split(both, bias, row, k, N, K, BIASED)
        d = tl.load(grad + place, mask=counts, other=0.0).to(tl.float32)
        slope = share + gate * tl.exp(-0.5 * gate * gate) * 0.3989422804014327
        first, second = d * gate * share, d * value * slope
        tl.store(dboth + at, first.to(dboth.dtype.element_ty), mask=counts)
        tl.store(dboth + at + K, second.to(dboth.dtype.element_ty), mask=counts)
        dvalue += first
        dgate += second
    if BIASED:
        at = tl.program_id(0) * 2 * K + k
        tl.store(sums + at, tl.sum(dvalue, axis=0), mask=k < K)
        tl.store(sums + at + K, tl.sum(dgate, axis=0), mask=k < K)


class GeluGateFunction(torch.autograd.Function):
    """`gelu_gate` of a contiguous tensor (..., 2 K) on a GPU, a bias (2 K,) added before; both are all that is kept."""

    @staticmethod
    def forward(ctx: Any, both: Tensor, bias: Tensor | None) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        k = both.shape[-1] // 2
        out = both.new_empty((*both.shape[:-1], k))
        n = out.numel() // k
        grid = (triton.cdiv(n, ROWS), triton.cdiv(k, COLUMNS))
        started(_up, grid)(both, both if bias is None else bias, out, n, k, BIASED=bias is not None, ROWS=ROWS, COLUMNS=COLUMNS)
        ctx.save_for_backward(both, bias)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor | None]:
        both, bias = ctx.saved_tensors
        k = both.shape[-1] // 2
        dboth, grad = torch.empty_like(both), grads[0].contiguous()
        n = grad.numel() // k
        tiles = triton.cdiv(n, ROWS)
        rounds = 1 if bias is None else triton.next_power_of_2(triton.cdiv(tiles, SHARES))
        programs = triton.cdiv(tiles, rounds)
        sums = torch.empty((programs, 2 * k) if bias is not None else 0, dtype=torch.float32, device=both.device)
        started(_down, (programs, triton.cdiv(k, COLUMNS)))(
            both, both if bias is None else bias, grad, dboth, sums, n, k,
            ROUNDS=rounds, BIASED=bias is not None, ROWS=ROWS, COLUMNS=COLUMNS,
        )  # fmt: skip
        return dboth, None if bias is None else sums.sum(0).to(bias.dtype)
