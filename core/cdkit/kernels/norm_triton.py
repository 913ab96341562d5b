"""Group normalisation with channels side by side, in Triton: a map is (B, P, C), P pixels.

Forward, small maps: `whole`, one program a sample and group, which reads once and writes once. Forward, large maps: `parts`
leaves each channel's mean and squared deviations over a chunk of pixels, `joined` joins them (Chan et al. 1979), `spread`
normalises. `away` is how far one sample's offset lies from the next's. Backward: `slopes` sums, for each sample and channel,
the gradient and the gradient times the normalised value; every other gradient is made of those two, `descend` the map's.
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
def _joined(h, skip, x, D, b, p, c, P, C, inside):
    """The values at pixels p (rows) and channels c (a row) of h, D channels, with the skip behind it, left in x as one map."""
    pixel = b * P + p[:, None]
    first = c[None, :] < D
    v = tl.load(h + pixel * D + c[None, :], mask=inside & first, other=0.0)
    v += tl.load(skip + pixel * (C - D) + c[None, :] - D, mask=inside & (c[None, :] >= D), other=0.0)
    tl.store(x + pixel * C + c[None, :], v, mask=inside)
    return v.to(tl.float32)


@triton.jit
def whole(
    x, y, h, skip, D, weight, bias, scale, shift, offset, away, mean, rstd, P, C, G, eps,
    WIDTH: tl.constexpr, BP: tl.constexpr, BC: tl.constexpr, TWO: tl.constexpr, TOLD: tl.constexpr, MOVED: tl.constexpr,
    SILU: tl.constexpr,
):  # fmt: skip
    """One program: one sample b, one group g of WIDTH channels, all P <= BP pixels. TWO: x is not yet there, but h and skip."""
    b, g = tl.program_id(0), tl.program_id(1)
    p, k = tl.arange(0, BP), tl.arange(0, BC)
    c, counts = g * WIDTH + k, k < WIDTH
    inside = (p < P)[:, None] & counts[None, :]
    at = b * P * C + p[:, None] * C + c[None, :]
    if TWO:  # noqa: SIM108  Triton decides this while it compiles
        v = _joined(h, skip, x, D, b, p, c, P, C, inside)
    else:
        v = tl.load(x + at, mask=inside, other=0.0).to(tl.float32)
    if MOVED:
        v += tl.load(offset + b * away + c, mask=counts, other=0.0).to(tl.float32)[None, :]
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
    x, h, skip, D, part, P, C, chunks, ROUNDS: tl.constexpr, BP: tl.constexpr, BC: tl.constexpr, TWO: tl.constexpr,
):  # fmt: skip
    """One program: one sample b, ROUNDS * BP pixels, BC channels -> mean and squared deviations of each, (2, B, chunks, C).

    Sums are taken of what is left without the chunk's first pixel, so that nothing large cancels. TWO: as in `whole`.
    """
    b, chunk = tl.program_id(0), tl.program_id(1)
    c = tl.program_id(2) * BC + tl.arange(0, BC)
    base = x + b * P * C + c[None, :]
    first = chunk * ROUNDS * BP
    if TWO:
        about = tl.load(h + (b * P + first) * D + c, mask=c < D, other=0.0).to(tl.float32)
        about += tl.load(skip + (b * P + first) * (C - D) + c - D, mask=(c >= D) & (c < C), other=0.0).to(tl.float32)
    else:
        about = tl.load(x + b * P * C + first * C + c, mask=c < C, other=0.0).to(tl.float32)
    total, square = tl.zeros((BP, BC), tl.float32), tl.zeros((BP, BC), tl.float32)
    for i in range(ROUNDS):
        p = first + i * BP + tl.arange(0, BP)
        inside = (p < P)[:, None] & (c < C)[None, :]
        if TWO:
            v = _joined(h, skip, x, D, b, p, c, P, C, inside)
        else:
            v = tl.load(base + p[:, None] * C, mask=inside, other=0.0).to(tl.float32)
        v = tl.where(inside, v - about[None, :], 0.0)
        total += v
        square += v * v
    n = tl.minimum(P - first, ROUNDS * BP).to(tl.float32)
    s = tl.sum(total, axis=0)
    at = (b * chunks + chunk) * C + c
    tl.store(part + at, about + s / n, mask=c < C)
    tl.store(part + tl.num_programs(0) * chunks * C + at, tl.sum(square, axis=0) - s * s / n, mask=c < C)


@triton.jit
def joined(
    part, offset, away, mean, rstd, P, C, G, chunks, eps,
    PART: tl.constexpr, WIDTH: tl.constexpr, BN: tl.constexpr, BC: tl.constexpr, MOVED: tl.constexpr,
):  # fmt: skip
    """One program: one sample, one group: its parts joined."""
    b, g = tl.program_id(0), tl.program_id(1)
    i, k = tl.arange(0, BN), tl.arange(0, BC)
    c = g * WIDTH + k
    inside = (i < chunks)[:, None] & (k < WIDTH)[None, :]
    at = (b * chunks + i)[:, None] * C + c[None, :]
    means = tl.load(part + at, mask=inside, other=0.0)
    square = tl.load(part + tl.num_programs(0) * chunks * C + at, mask=inside, other=0.0)
    if MOVED:
        means += tl.load(offset + b * away + c, mask=k < WIDTH, other=0.0).to(tl.float32)[None, :]
    n = tl.where(inside, tl.minimum(P - i * PART, PART).to(tl.float32)[:, None], 0.0)
    m = tl.sum(n * means) / (P * WIDTH)
    apart = tl.where(inside, means - m, 0.0)
    tl.store(mean + b * G + g, m)
    tl.store(rstd + b * G + g, tl.rsqrt(tl.sum(square + n * apart * apart) / (P * WIDTH) + eps))


@triton.jit
def spread(
    x, y, weight, bias, scale, shift, offset, away, mean, rstd, P, C, G, WIDTH,
    ROUNDS: tl.constexpr, BP: tl.constexpr, BC: tl.constexpr,
    TOLD: tl.constexpr, MOVED: tl.constexpr, SILU: tl.constexpr,
):  # fmt: skip
    """One program: one sample b, ROUNDS * BP pixels, BC channels, each of them scaled and shifted."""
    b, chunk = tl.program_id(0), tl.program_id(1)
    c = tl.program_id(2) * BC + tl.arange(0, BC)
    g = b * G + c // WIDTH
    w, o = _affine(weight, bias, scale, shift, b, c, C, c < C, TOLD)
    m = tl.load(mean + g, mask=c < C, other=0.0)
    if MOVED:
        m -= tl.load(offset + b * away + c, mask=c < C, other=0.0).to(tl.float32)
    w *= tl.load(rstd + g, mask=c < C, other=0.0)
    for i in range(ROUNDS):
        p = (chunk * ROUNDS + i) * BP + tl.arange(0, BP)
        inside = (p < P)[:, None] & (c < C)[None, :]
        at = b * P * C + p[:, None] * C + c[None, :]
        v = tl.load(x + at, mask=inside, other=0.0).to(tl.float32)
        z = _activated((v - m[None, :]) * w[None, :] + o[None, :], SILU)
        tl.store(y + at, z.to(y.dtype.element_ty), mask=inside)


@triton.jit
def _slope(x, dy, mean, rstd, weight, bias, scale, shift, offset, away, b, p, c, P, C, G, WIDTH: tl.constexpr,
           TOLD: tl.constexpr, MOVED: tl.constexpr, SILU: tl.constexpr):  # fmt: skip
    """The normalised value and the gradient before the activation, at pixels p and channels c; 0 outside."""
    counts = c < C
    inside = (p < P)[:, None] & counts[None, :]
    at = b * P * C + p[:, None] * C + c[None, :]
    v = tl.load(x + at, mask=inside, other=0.0).to(tl.float32)
    d = tl.load(dy + at, mask=inside, other=0.0).to(tl.float32)
    g = b * G + c // WIDTH
    m, r = tl.load(mean + g, mask=counts, other=0.0), tl.load(rstd + g, mask=counts, other=0.0)
    if MOVED:
        m -= tl.load(offset + b * away + c, mask=counts, other=0.0).to(tl.float32)
    u = tl.where(inside, (v - m[None, :]) * r[None, :], 0.0)
    w, o = _affine(weight, bias, scale, shift, b, c, C, counts, TOLD)
    if SILU:
        z = u * w[None, :] + o[None, :]
        s = tl.sigmoid(z)
        d = d * s * (1 + z * (1 - s))
    return u, d, w, r, at, inside


@triton.jit
def slopes(
    x, dy, mean, rstd, weight, bias, scale, shift, offset, away, sums, P, C, G, chunks,
    WIDTH: tl.constexpr, ROUNDS: tl.constexpr, BP: tl.constexpr, BC: tl.constexpr, TOLD: tl.constexpr, MOVED: tl.constexpr,
    SILU: tl.constexpr,
):  # fmt: skip
    """One program: one sample, ROUNDS * BP pixels, BC channels -> sums (2, B, chunks, C); MOVED: (3, B, chunks, C), the last of
    the normalised values alone."""
    b, chunk = tl.program_id(0), tl.program_id(1)
    c = tl.program_id(2) * BC + tl.arange(0, BC)
    first, second, third = tl.zeros((BC,), tl.float32), tl.zeros((BC,), tl.float32), tl.zeros((BC,), tl.float32)
    for i in range(ROUNDS):
        p = (chunk * ROUNDS + i) * BP + tl.arange(0, BP)
        u, d, _, _, _, _ = _slope(
            x, dy, mean, rstd, weight, bias, scale, shift, offset, away, b, p, c, P, C, G, WIDTH, TOLD, MOVED, SILU
        )  # fmt: skip
        first += tl.sum(d, axis=0)
        second += tl.sum(d * u, axis=0)
        third += tl.sum(u, axis=0)
    at = (b * chunks + chunk) * C + c
    tl.store(sums + at, first, mask=c < C)
    tl.store(sums + tl.num_programs(0) * chunks * C + at, second, mask=c < C)
    if MOVED:
        tl.store(sums + 2 * tl.num_programs(0) * chunks * C + at, third, mask=c < C)


@triton.jit
def descend(
    x, dy, dx, mean, rstd, weight, bias, scale, shift, offset, away, m1, m2, P, C, G,
    WIDTH: tl.constexpr, BP: tl.constexpr, BC: tl.constexpr, TOLD: tl.constexpr, MOVED: tl.constexpr, SILU: tl.constexpr,
):  # fmt: skip
    """One program: one sample, BP pixels, BC channels: dx = rstd (w d - m1 - u m2), m1 and m2 (B, G) means over a group."""
    b = tl.program_id(0)
    p = tl.program_id(1) * BP + tl.arange(0, BP)
    c = tl.program_id(2) * BC + tl.arange(0, BC)
    u, d, w, r, at, inside = _slope(
        x, dy, mean, rstd, weight, bias, scale, shift, offset, away, b, p, c, P, C, G, WIDTH, TOLD, MOVED, SILU
    )  # fmt: skip
    g = b * G + c // WIDTH
    a1, a2 = tl.load(m1 + g, mask=c < C, other=0.0), tl.load(m2 + g, mask=c < C, other=0.0)
    out = r[None, :] * (w[None, :] * d - a1[None, :] - u * a2[None, :])
    tl.store(dx + at, out.to(dx.dtype.element_ty), mask=inside)
