"""Group normalisation with channels side by side, in Triton: a map is (B, P, C), P pixels.

Forward, small maps: `whole`, one program a sample and group, which reads once and writes once. Forward, large maps: `parts`
leaves mean and squared deviations of each chunk of pixels, `spread` joins them (Chan et al. 1979) and normalises. Backward:
`slopes` sums, for each sample and channel, the gradient and the gradient times the normalised value; every other gradient is
made of those two, `descend` the map's.
"""

# pyright: reportUnknownParameterType=false, reportMissingParameterType=false, reportUntypedFunctionDecorator=false
# pyright: reportUnknownArgumentType=false, reportUnnecessaryComparison=false, reportArgumentType=false
# Triton's functions are compiled from their source: their parameters are pointers, numbers and compile-time constants.

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def _activated(z, SILU: tl.constexpr):
    return z * tl.sigmoid(z) if SILU else z


@triton.jit
def _affine(weight, bias, scale, shift, b, c, C, counts, TOLD: tl.constexpr):
    """What a channel is multiplied by and what is added to it."""
    w = tl.load(weight + c, mask=counts, other=0.0).to(tl.float32)
    o = tl.load(bias + c, mask=counts, other=0.0).to(tl.float32)
    if TOLD:
        s = 1 + tl.load(scale + b * C + c, mask=counts, other=0.0).to(tl.float32)
        t = tl.load(shift + b * C + c, mask=counts, other=0.0).to(tl.float32)
        w, o = w * s, o * s + t
    return w, o


@triton.jit
def whole(
    x, y, weight, bias, scale, shift, offset, mean, rstd, P, C, G, eps,
    WIDTH: tl.constexpr, BP: tl.constexpr, BC: tl.constexpr, TOLD: tl.constexpr, MOVED: tl.constexpr, SILU: tl.constexpr,
):  # fmt: skip
    """One program: one sample b, one group g of WIDTH channels, all P <= BP pixels."""
    b, g = tl.program_id(0), tl.program_id(1)
    p, k = tl.arange(0, BP), tl.arange(0, BC)
    c, counts = g * WIDTH + k, k < WIDTH
    inside = (p < P)[:, None] & counts[None, :]
    at = b * P * C + p[:, None] * C + c[None, :]
    v = tl.load(x + at, mask=inside, other=0.0).to(tl.float32)
    if MOVED:
        v += tl.load(offset + b * C + c, mask=counts, other=0.0).to(tl.float32)[None, :]
    n = P * WIDTH
    m = tl.sum(tl.where(inside, v, 0.0)) / n
    d = tl.where(inside, v - m, 0.0)
    r = tl.rsqrt(tl.sum(d * d) / n + eps)
    w, o = _affine(weight, bias, scale, shift, b, c, C, counts, TOLD)
    z = _activated(d * r * w[None, :] + o[None, :], SILU)
    tl.store(y + at, z.to(y.dtype.element_ty), mask=inside)
    tl.store(mean + b * G + g, m)
    tl.store(rstd + b * G + g, r)


@triton.jit
def parts(
    x, offset, part_mean, part_square, P, C, G, chunks,
    WIDTH: tl.constexpr, GT: tl.constexpr, BP: tl.constexpr, BC: tl.constexpr, BG: tl.constexpr, MOVED: tl.constexpr,
):  # fmt: skip
    """One program: one sample b, BP pixels, GT groups: their mean and their sum of squared deviations, (B, G, chunks)."""
    b, chunk, tile = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    p, k, j = chunk * BP + tl.arange(0, BP), tl.arange(0, BC), tl.arange(0, BG)
    c = tile * GT * WIDTH + k
    counts = (k < GT * WIDTH) & (c < C)
    inside = (p < P)[:, None] & counts[None, :]
    v = tl.load(x + b * P * C + p[:, None] * C + c[None, :], mask=inside, other=0.0).to(tl.float32)
    if MOVED:
        v += tl.load(offset + b * C + c, mask=counts, other=0.0).to(tl.float32)[None, :]
        v = tl.where(inside, v, 0.0)
    mine = (k // WIDTH)[:, None] == j[None, :]
    n = (tl.minimum(P - chunk * BP, BP) * WIDTH).to(tl.float32)
    m = tl.sum(tl.where(mine, tl.sum(v, axis=0)[:, None], 0.0), axis=0) / n
    of_channel = tl.sum(tl.where(mine, m[None, :], 0.0), axis=1)
    d = tl.where(inside, v - of_channel[None, :], 0.0)
    square = tl.sum(tl.where(mine, tl.sum(d * d, axis=0)[:, None], 0.0), axis=0)
    g = tile * GT + j
    there = (j < GT) & (g < G)
    tl.store(part_mean + (b * G + g) * chunks + chunk, m, mask=there)
    tl.store(part_square + (b * G + g) * chunks + chunk, square, mask=there)


@triton.jit
def spread(
    x, y, weight, bias, scale, shift, offset, part_mean, part_square, mean, rstd, P, C, G, chunks, eps,
    WIDTH: tl.constexpr, GT: tl.constexpr, PART: tl.constexpr, BN: tl.constexpr, BP: tl.constexpr, BC: tl.constexpr,
    BG: tl.constexpr, TOLD: tl.constexpr, MOVED: tl.constexpr, SILU: tl.constexpr,
):  # fmt: skip
    """One program: one sample b, BP pixels, GT groups, whose parts of PART pixels are joined first."""
    b, chunk, tile = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    j, i = tl.arange(0, BG), tl.arange(0, BN)
    g = tile * GT + j
    there = ((j < GT) & (g < G))[:, None] & (i < chunks)[None, :]
    at = (b * G + g)[:, None] * chunks + i[None, :]
    n = tl.where(there, (tl.minimum(P - i * PART, PART) * WIDTH)[None, :].to(tl.float32), 0.0)
    means = tl.load(part_mean + at, mask=there, other=0.0)
    m = tl.sum(n * means, axis=1) / (P * WIDTH)
    apart = means - m[:, None]
    square = tl.sum(tl.load(part_square + at, mask=there, other=0.0) + n * apart * apart, axis=1)
    r = tl.rsqrt(square / (P * WIDTH) + eps)
    if chunk == 0:
        tl.store(mean + b * G + g, m, mask=(j < GT) & (g < G))
        tl.store(rstd + b * G + g, r, mask=(j < GT) & (g < G))
    p, k = chunk * BP + tl.arange(0, BP), tl.arange(0, BC)
    c = tile * GT * WIDTH + k
    counts = (k < GT * WIDTH) & (c < C)
    inside = (p < P)[:, None] & counts[None, :]
    mine = (k // WIDTH)[:, None] == j[None, :]
    mc = tl.sum(tl.where(mine, m[None, :], 0.0), axis=1)
    rc = tl.sum(tl.where(mine, r[None, :], 0.0), axis=1)
    w, o = _affine(weight, bias, scale, shift, b, c, C, counts, TOLD)
    if MOVED:
        mc -= tl.load(offset + b * C + c, mask=counts, other=0.0).to(tl.float32)
    place = b * P * C + p[:, None] * C + c[None, :]
    v = tl.load(x + place, mask=inside, other=0.0).to(tl.float32)
    z = _activated((v - mc[None, :]) * (rc * w)[None, :] + o[None, :], SILU)
    tl.store(y + place, z.to(y.dtype.element_ty), mask=inside)


@triton.jit
def _slope(x, dy, mean, rstd, weight, bias, scale, shift, b, p, c, P, C, G, WIDTH: tl.constexpr, TOLD: tl.constexpr,
           SILU: tl.constexpr):  # fmt: skip
    """The normalised value and the gradient before the activation, at pixels p and channels c; 0 outside."""
    counts = c < C
    inside = (p < P)[:, None] & counts[None, :]
    at = b * P * C + p[:, None] * C + c[None, :]
    v = tl.load(x + at, mask=inside, other=0.0).to(tl.float32)
    d = tl.load(dy + at, mask=inside, other=0.0).to(tl.float32)
    g = b * G + c // WIDTH
    m, r = tl.load(mean + g, mask=counts, other=0.0), tl.load(rstd + g, mask=counts, other=0.0)
    u = tl.where(inside, (v - m[None, :]) * r[None, :], 0.0)
    w, o = _affine(weight, bias, scale, shift, b, c, C, counts, TOLD)
    if SILU:
        z = u * w[None, :] + o[None, :]
        s = tl.sigmoid(z)
        d = d * s * (1 + z * (1 - s))
    return u, d, w, r, at, inside


@triton.jit
def slopes(
    x, dy, mean, rstd, weight, bias, scale, shift, sums, P, C, G, chunks,
    WIDTH: tl.constexpr, ROUNDS: tl.constexpr, BP: tl.constexpr, BC: tl.constexpr, TOLD: tl.constexpr, SILU: tl.constexpr,
):  # fmt: skip
    """One program: one sample, ROUNDS * BP pixels, BC channels -> sums (2, B, chunks, C)."""
    b, chunk = tl.program_id(0), tl.program_id(1)
    c = tl.program_id(2) * BC + tl.arange(0, BC)
    first, second = tl.zeros((BC,), tl.float32), tl.zeros((BC,), tl.float32)
    for i in range(ROUNDS):
        p = (chunk * ROUNDS + i) * BP + tl.arange(0, BP)
        u, d, _, _, _, _ = _slope(x, dy, mean, rstd, weight, bias, scale, shift, b, p, c, P, C, G, WIDTH, TOLD, SILU)
        first += tl.sum(d, axis=0)
        second += tl.sum(d * u, axis=0)
    at = (b * chunks + chunk) * C + c
    tl.store(sums + at, first, mask=c < C)
    tl.store(sums + tl.num_programs(0) * chunks * C + at, second, mask=c < C)


@triton.jit
def descend(
    x, dy, dx, mean, rstd, weight, bias, scale, shift, m1, m2, P, C, G,
    WIDTH: tl.constexpr, BP: tl.constexpr, BC: tl.constexpr, TOLD: tl.constexpr, SILU: tl.constexpr,
):  # fmt: skip
    """One program: one sample, BP pixels, BC channels: dx = rstd (w d - m1 - u m2), m1 and m2 (B, G) means over a group."""
    b = tl.program_id(0)
    p = tl.program_id(1) * BP + tl.arange(0, BP)
    c = tl.program_id(2) * BC + tl.arange(0, BC)
    u, d, w, r, at, inside = _slope(x, dy, mean, rstd, weight, bias, scale, shift, b, p, c, P, C, G, WIDTH, TOLD, SILU)
    g = b * G + c // WIDTH
    a1, a2 = tl.load(m1 + g, mask=c < C, other=0.0), tl.load(m2 + g, mask=c < C, other=0.0)
    out = r[None, :] * (w[None, :] * d - a1[None, :] - u * a2[None, :])
    tl.store(dx + at, out.to(dx.dtype.element_ty), mask=inside)
