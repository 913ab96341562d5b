"""Attention over so few keys that a program holds them all, in Triton."""

# pyright: reportUnknownParameterType=false, reportMissingParameterType=false, reportUntypedFunctionDecorator=false
# pyright: reportUnknownArgumentType=false, reportArgumentType=false, reportCallIssue=false
# pyright: reportPossiblyUnboundVariable=false
# Triton's functions are compiled from their source: their parameters are pointers, numbers and compile-time constants.

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from cdkit.kernels.start import started

ROWS = 64  # queries at a time
ENOUGH = 1024  # programs: with more than twice that, each takes several rounds
LOG2E = 1.4426950408889634


@triton.jit
def _rows(x, at, most, step, d, D: tl.constexpr):
    """Rows `at` of `most`, those beyond zero."""
    return tl.load(x + at.to(tl.int64)[:, None] * step + d[None, :], mask=(at < most)[:, None] & (d < D)[None, :], other=0.0)


@triton.jit
def _scores(asked, keys, at, L, scale):
    return tl.where((at < L)[None, :], tl.dot(asked, tl.trans(keys)) * scale, float("-inf"))


@triton.jit
def _attended(
    q, k, v, out, N, L, k_batch, k_row, v_batch, v_row, scale,
    D: tl.constexpr, WIDTH: tl.constexpr, FIRST: tl.constexpr, SECOND: tl.constexpr, ROUNDS: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    """One head of one sample, ROUNDS times ROWS queries, FIRST + SECOND keys: two tiles, for there are seldom as many as a power
    of two."""
    head, b = tl.program_id(0), tl.program_id(2)
    row = tl.num_programs(0) * D
    q += b.to(tl.int64) * N * row + head * D
    out += b.to(tl.int64) * N * row + head * D
    k += b.to(tl.int64) * k_batch + head * D
    v += b.to(tl.int64) * v_batch + head * D
    d, first = tl.arange(0, WIDTH), tl.arange(0, FIRST)
    keys, values = _rows(k, first, L, k_row, d, D), _rows(v, first, L, v_row, d, D)
    if SECOND:
        second = FIRST + tl.arange(0, SECOND)
        more_keys, more_values = _rows(k, second, L, k_row, d, D), _rows(v, second, L, v_row, d, D)
    for i in range(ROUNDS):
        n = (tl.program_id(1) * ROUNDS + i) * ROWS + tl.arange(0, ROWS)
        asked = _rows(q, n, N, row, d, D)
        s = _scores(asked, keys, first, L, scale)
        most = tl.max(s, axis=1)
        if SECOND:
            t = _scores(asked, more_keys, second, L, scale)
            most = tl.maximum(most, tl.max(t, axis=1))
        p = tl.exp2(s - most[:, None])
        total, y = tl.sum(p, axis=1), tl.dot(p.to(values.dtype), values)
        if SECOND:
            p = tl.exp2(t - most[:, None])
            total += tl.sum(p, axis=1)
            y = tl.dot(p.to(values.dtype), more_values, y)
        at = n.to(tl.int64)[:, None] * row + d[None, :]
        tl.store(out + at, (y / total[:, None]).to(out.dtype.element_ty), mask=(n < N)[:, None] & (d < D)[None, :])


def launch(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
    """q (B, N, C) in one piece, k and v (B, L, C), channels side by side -> (B, N, C)."""
    b, n, c = q.shape
    words, width = k.shape[1], c // heads
    first = max(16, 1 << words.bit_length() - 1)
    second = max(16, triton.next_power_of_2(words - first)) if words > first else 0
    blocks = triton.cdiv(n, ROWS)
    rounds = max(1, min(8, triton.next_power_of_2(blocks * b * heads // ENOUGH + 1) // 2))
    out = torch.empty_like(q)
    started(_attended, (heads, triton.cdiv(blocks, rounds), b))(
        q, k, v, out, n, words, k.stride(0), k.stride(1), v.stride(0), v.stride(1), LOG2E * width**-0.5,
        D=width, WIDTH=max(16, triton.next_power_of_2(width)), FIRST=first, SECOND=second, ROUNDS=rounds, ROWS=ROWS,
    )  # fmt: skip
    return out
