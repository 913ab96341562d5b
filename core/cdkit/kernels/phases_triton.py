"""Four phases of a map woven into one, in Triton."""

# pyright: reportUnknownParameterType=false, reportMissingParameterType=false, reportUntypedFunctionDecorator=false
# pyright: reportUnknownArgumentType=false, reportArgumentType=false

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from cdkit.kernels.start import started

ROWS, COLUMNS = 8, 256  # pixels and channels of a tile


@triton.jit
def _woven(phases, bias, out, N, C, H, W, BIASED: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """ROWS of the N = B 2H 2W pixels of the answer, COLUMNS of its C channels."""
    n = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    c = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    inside = (n < N)[:, None] & (c < C)[None, :]
    x, y, b = n % (2 * W), (n // (2 * W)) % (2 * H), n // (4 * H * W)
    i, j = y % 2, x % 2
    pixel = (b * (H + 1) + y // 2 + i) * (W + 1) + x // 2 + j
    here = (pixel.to(tl.int64) * 4 + 2 * i + j) * C
    v = tl.load(phases + here[:, None] + c[None, :], mask=inside)
    if BIASED:
        v = (v.to(tl.float32) + tl.load(bias + c, mask=c < C, other=0.0).to(tl.float32)[None, :]).to(v.dtype)
    tl.store(out + n.to(tl.int64)[:, None] * C + c[None, :], v, mask=inside)


@triton.jit
def _unwoven(grad, out, N, C, H, W, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """ROWS of the N = B (H + 1) (W + 1) 4 pixels and phases; zero where a phase answers to nothing."""
    n = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    c = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    inside = (n < N)[:, None] & (c < C)[None, :]
    i, j, pixel = (n // 2) % 2, n % 2, n // 4
    x, y, b = pixel % (W + 1) - j, (pixel // (W + 1)) % (H + 1) - i, pixel // ((H + 1) * (W + 1))
    answers = (x >= 0) & (x < W) & (y >= 0) & (y < H)
    there = ((b * 2 * H + 2 * y + i) * 2 * W + 2 * x + j).to(tl.int64) * C
    v = tl.load(grad + there[:, None] + c[None, :], mask=inside & answers[:, None], other=0.0)
    tl.store(out + n.to(tl.int64)[:, None] * C + c[None, :], v, mask=inside)


def launch(phases: Tensor, bias: Tensor | None) -> Tensor:
    """(B, 4 C, H + 1, W + 1), channels side by side -> (B, C, 2 H, 2 W), the same, plus bias (C,)."""
    b, four, h, w = phases.shape
    c, h, w = four // 4, h - 1, w - 1
    out = torch.empty((b, c, 2 * h, 2 * w), dtype=phases.dtype, device=phases.device, memory_format=torch.channels_last)
    n = b * 4 * h * w
    grid = (triton.cdiv(n, ROWS), triton.cdiv(c, COLUMNS))
    more = phases if bias is None else bias
    started(_woven, grid)(phases, more, out, n, c, h, w, BIASED=bias is not None, ROWS=ROWS, COLUMNS=COLUMNS)
    return out


def launch_back(grad: Tensor) -> Tensor:
    """The phases' gradient (B, 4 C, H + 1, W + 1) of the answer's (B, C, 2 H, 2 W), channels side by side."""
    b, c, h, w = grad.shape[0], grad.shape[1], grad.shape[2] // 2, grad.shape[3] // 2
    shape = (b, 4 * c, h + 1, w + 1)
    out = torch.empty(shape, dtype=grad.dtype, device=grad.device, memory_format=torch.channels_last)
    n = out.numel() // c
    started(_unwoven, (triton.cdiv(n, ROWS), triton.cdiv(c, COLUMNS)))(grad, out, n, c, h, w, ROWS=ROWS, COLUMNS=COLUMNS)
    return out


class WovenFunction(torch.autograd.Function):
    """`woven` of phases on a GPU; nothing is kept for the gradient."""

    @staticmethod
    def forward(ctx: Any, phases: Tensor, bias: Tensor | None) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx.bias = None if bias is None else bias.dtype
        return launch(phases, bias)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor | None]:
        grad = grads[0].contiguous(memory_format=torch.channels_last)
        dbias = None if ctx.bias is None else grad.sum((0, 2, 3), dtype=torch.float32).to(ctx.bias)
        return launch_back(grad), dbias
