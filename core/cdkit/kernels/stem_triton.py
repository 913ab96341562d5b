"""A 3 x 3 convolution of few channels as one product, in Triton: its nine taps of a pixel are a row."""

# pyright: reportUnknownParameterType=false, reportMissingParameterType=false, reportUntypedFunctionDecorator=false
# pyright: reportUnknownArgumentType=false, reportArgumentType=false, reportCallIssue=false
# Triton's functions are compiled from their source: their parameters are pointers, numbers and compile-time constants.

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from cdkit.kernels.start import started

PIXELS, CHANNELS = 64, 64  # of a tile
ENOUGH = 512  # programs: with as many rows of tiles, one makes all channels


@triton.jit
def _stem(
    x, weight, bias, out, N, H, W, OUT, C: tl.constexpr, TAPS: tl.constexpr, SPAN: tl.constexpr,
    PIXELS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """PIXELS of the N = B H W pixels, SPAN times CHANNELS of the answer's."""
    n, tap = tl.program_id(0) * PIXELS + tl.arange(0, PIXELS), tl.arange(0, TAPS)
    rows, columns = (n // W % H)[:, None] + (tap // C // 3 - 1)[None, :], (n % W)[:, None] + (tap // C % 3 - 1)[None, :]
    inside = (rows >= 0) & (rows < H) & (columns >= 0) & (columns < W) & (n < N)[:, None] & (tap < 9 * C)[None, :]
    pixel = (n // (H * W) * H)[:, None] + rows
    seen = tl.load(x + (pixel.to(tl.int64) * W + columns) * C + (tap % C)[None, :], mask=inside, other=0.0)
    for i in range(SPAN):
        o = (tl.program_id(1) * SPAN + i) * CHANNELS + tl.arange(0, CHANNELS)
        known = (tap < 9 * C)[:, None] & (o < OUT)[None, :]
        y = tl.dot(seen, tl.load(weight + o[None, :] * 9 * C + tap[:, None], mask=known, other=0.0))
        y += tl.load(bias + o, mask=o < OUT, other=0.0).to(tl.float32)[None, :]
        at = n.to(tl.int64)[:, None] * OUT + o[None, :]
        tl.store(out + at, y.to(out.dtype.element_ty), mask=(n < N)[:, None] & (o < OUT)[None, :])


def launch(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """x (B, C, H, W) and weight (C', C, 3, 3), channels side by side in both -> (B, C', H, W), the same."""
    b, c, h, w = x.shape
    out = torch.empty((b, len(weight), h, w), dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
    pixels, wide = triton.cdiv(b * h * w, PIXELS), triton.cdiv(len(weight), CHANNELS)
    span = wide if pixels >= ENOUGH else 1
    started(_stem, (pixels, wide // span))(
        x, weight, bias, out, b * h * w, h, w, len(weight), C=c, TAPS=max(16, triton.next_power_of_2(9 * c)), SPAN=span,
        PIXELS=PIXELS, CHANNELS=CHANNELS,
    )  # fmt: skip
    return out
