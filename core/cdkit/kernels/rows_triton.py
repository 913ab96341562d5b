"""Layer normalisation in Triton, with its gradient."""

# pyright: reportUnknownParameterType=false, reportMissingParameterType=false, reportUntypedFunctionDecorator=false
# pyright: reportUnknownArgumentType=false, reportArgumentType=false, reportCallIssue=false
# Triton's functions are compiled from their source: their parameters are pointers, numbers and compile-time constants.

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from cdkit.kernels.start import started

SHARES = 264  # programs that sum gradients of weights: two for each multiprocessor of an H100


@triton.jit
def _forward(
    x, y, weight, bias, mean, rstd, more, moved, N, C, eps, ROWS: tl.constexpr, BC: tl.constexpr, MOVED: tl.constexpr
):  # fmt: skip
    """ROWS rows. MOVED: x + more is left in `moved` too."""
    r, c = tl.program_id(0) * ROWS + tl.arange(0, ROWS), tl.arange(0, BC)
    inside = (r < N)[:, None] & (c < C)[None, :]
    at = r.to(tl.int64)[:, None] * C + c[None, :]
    v = tl.load(x + at, mask=inside, other=0.0).to(tl.float32)
    m = tl.sum(v, axis=1) / C
    d = tl.where(inside, v - m[:, None], 0.0)
    s = tl.rsqrt(tl.sum(d * d, axis=1) / C + eps)
    w, o = tl.load(weight + c, mask=c < C, other=0.0).to(tl.float32), tl.load(bias + c, mask=c < C, other=0.0).to(tl.float32)
    tl.store(y + at, (d * s[:, None] * w[None, :] + o[None, :]).to(y.dtype.element_ty), mask=inside)
    if MOVED:
        v += tl.load(more + c, mask=c < C, other=0.0).to(tl.float32)[None, :]
        tl.store(moved + at, v.to(moved.dtype.element_ty), mask=inside)
    tl.store(mean + r, m, mask=r < N)
    tl.store(rstd + r, s, mask=r < N)


@triton.jit
def _backward(x, dy, dx, weight, mean, rstd, sums, N, C, ROUNDS: tl.constexpr, ROWS: tl.constexpr, BC: tl.constexpr):
    """dx of ROUNDS times ROWS rows, and what they add to the gradients of weight and bias: sums (programs, 2, C)."""
    c = tl.arange(0, BC)
    w = tl.load(weight + c, mask=c < C, other=0.0).to(tl.float32)
    dweight, dbias = tl.zeros((ROWS, BC), tl.float32), tl.zeros((ROWS, BC), tl.float32)
    for i in range(ROUNDS):
        r = (tl.program_id(0) * ROUNDS + i) * ROWS + tl.arange(0, ROWS)
        inside = (r < N)[:, None] & (c < C)[None, :]
        at = r.to(tl.int64)[:, None] * C + c[None, :]
        m, s = tl.load(mean + r, mask=r < N, other=0.0), tl.load(rstd + r, mask=r < N, other=0.0)
        u = (tl.load(x + at, mask=inside, other=0.0).to(tl.float32) - m[:, None]) * s[:, None]
        u = tl.where(inside, u, 0.0)
        d = tl.load(dy + at, mask=inside, other=0.0).to(tl.float32)
        dweight += d * u
        dbias += d
        e = d * w[None, :]
        first, second = tl.sum(e, axis=1) / C, tl.sum(e * u, axis=1) / C
        out = s[:, None] * (e - first[:, None] - u * second[:, None])
        tl.store(dx + at, out.to(dx.dtype.element_ty), mask=inside)
    at = tl.program_id(0) * 2 * C + c
    tl.store(sums + at, tl.sum(dweight, axis=0), mask=c < C)
    tl.store(sums + C + at, tl.sum(dbias, axis=0), mask=c < C)


def _tile(c: int) -> dict[str, int]:
    """Rows and columns of a tile."""
    bc = triton.next_power_of_2(c)
    return {"ROWS": max(1, min(4, 2048 // bc)), "BC": bc, "num_warps": 2 if bc <= 1024 else 4}


def forward(x: Tensor, weight: Tensor, bias: Tensor, eps: float, more: Tensor | None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Contiguous rows x (..., C) normalised, each row's mean and 1 / deviation, and x + more (C,); x itself without more."""
    c = x.shape[-1]
    n = x.numel() // c
    y, moved = torch.empty_like(x), x if more is None else torch.empty_like(x)
    mean, rstd = (torch.empty(n, dtype=torch.float32, device=x.device) for _ in range(2))
    tile = _tile(c)
    started(_forward, (triton.cdiv(n, tile["ROWS"]),))(
        x, y, weight, bias, mean, rstd, weight if more is None else more, moved, n, c, eps, MOVED=more is not None, **tile
    )
    return y, mean, rstd, moved


class LayerNormFunction(torch.autograd.Function):
    """`layer_normed` of contiguous rows on a GPU."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        y, mean, rstd, _ = forward(x, weight, bias, eps, None)
        ctx.save_for_backward(x, weight, bias, mean, rstd)
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias, mean, rstd = ctx.saved_tensors
        c = x.shape[-1]
        n = x.numel() // c
        dx, dy, tile = torch.empty_like(x), grads[0].contiguous(), _tile(c)
        tiles = triton.cdiv(n, tile["ROWS"])
        rounds = triton.next_power_of_2(triton.cdiv(tiles, SHARES))
        programs = triton.cdiv(tiles, rounds)
        sums = torch.empty((programs, 2, c), dtype=torch.float32, device=x.device)
        started(_backward, (programs,))(x, dy, dx, weight, mean, rstd, sums, n, c, ROUNDS=rounds, **tile)
        dweight, dbias = sums.sum(0)
        return dx, dweight.to(weight.dtype), dbias.to(bias.dtype), None
