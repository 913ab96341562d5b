"""How the kernels of group normalisation are launched: which of them, over how many pixels and channels at a time."""

# pyright: reportArgumentType=false, reportCallIssue=false
# To a type checker the compile-time constants of Triton's functions are a class of their own.

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from cdkit.kernels import norm_triton as kernels
from cdkit.kernels.start import started

MOST = 32768  # values that one program of `whole` holds in registers
LARGE = 2**22  # values of a map that `whole` is slow at where it reads thin slices of it: of many pixels, or in few programs
THICK = 512  # pixels, with fewer of which a slice is not thin
FEW = 1024  # programs that fill a GPU; with more, each takes several rounds
ENOUGH = 256  # the same on the way forward, where four rounds are best as soon as there is so much to do


class Told(NamedTuple):
    """What is done to the normalised map. weight, bias (C,); scale, shift (B, C) or None."""

    weight: Tensor
    bias: Tensor
    scale: Tensor | None
    shift: Tensor | None

    @property
    def pointers(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """With any tensor in the place of one that is not read."""
        return (
            self.weight,
            self.bias,
            self.weight if self.scale is None else self.scale,
            (self.weight if self.shift is None else self.shift),
        )


def power(n: int) -> int:
    """The smallest power of two that is at least n."""
    return 1 << max(n - 1, 0).bit_length()


def rounds_of(wanted: int, most: int = 16) -> int:
    """A power of two from 1 to `most`, so that few kernels are compiled."""
    return min(most, 1 << max(wanted, 1).bit_length() - 1)


def moving(x: Tensor, offset: Tensor | None) -> tuple[Tensor, int]:
    """The offset (B, C), and how far a sample's lies from the next's; any tensor in its place, if there is none."""
    if offset is None:
        return x, 0
    return (offset, offset.stride(0)) if offset.stride(1) == 1 else (offset.contiguous(), offset.shape[1])


class Two(NamedTuple):
    """What x is made of, if it is not there yet: h, and the skip whose channels come behind h's."""

    h: Tensor
    skip: Tensor


def forward(
    x: Tensor, groups: int, told: Told, offset: Tensor | None, *, eps: float, silu: bool, two: Two | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """y, mean and rstd (B, G) float32 of x (B, C, H, W), channels side by side. two: x is filled too."""
    b, c, rows, columns = x.shape
    mean, rstd = (torch.empty((b, groups), dtype=torch.float32, device=x.device) for _ in range(2))
    y = torch.empty_like(x)
    pixels, width = rows * columns, c // groups
    way = _whole if _fits(x, pixels, power(pixels) * power(width)) else _in_parts
    way(x, y, told, offset, mean, rstd, pixels, width, eps, silu, two)
    return y, mean, rstd


def forward_of_two(h: Tensor, skip: Tensor, groups: int, told: Told, *, eps: float) -> tuple[Tensor, Tensor]:
    """h and skip (B, C, H, W) and (B, D, H, W) as one map, and that normalised, with SiLU."""
    b, c, rows, columns = h.shape
    shape = (b, c + skip.shape[1], rows, columns)
    x = torch.empty(shape, dtype=h.dtype, device=h.device, memory_format=torch.channels_last)
    return x, forward(x, groups, told, None, eps=eps, silu=True, two=Two(h, skip))[0]


def _fits(x: Tensor, pixels: int, tile: int) -> bool:
    """Is one program a sample and group, with a tile of so many values, the way?"""
    return tile <= MOST and (x.numel() < LARGE or (pixels < THICK and tile < MOST))


def _sources(x: Tensor, two: Two | None) -> tuple[Tensor, Tensor, int]:
    """h, skip and h's channels; any tensor in their place, if x is there."""
    return (x, x, 0) if two is None else (two.h, two.skip, two.h.shape[1])


def _whole(
    x: Tensor, y: Tensor, told: Told, offset: Tensor | None, mean: Tensor, rstd: Tensor,
    pixels: int, width: int, eps: float, silu: bool, two: Two | None,
) -> None:  # fmt: skip
    bp, bc = power(pixels), power(width)
    b, groups = mean.shape
    started(kernels.whole, (b, groups))(
        x, y, *_sources(x, two), *told.pointers, *moving(x, offset), mean, rstd, pixels, x.shape[1], groups, eps,
        WIDTH=width, BP=bp, BC=bc, TWO=two is not None, TOLD=told.scale is not None, MOVED=offset is not None, SILU=silu,
        num_warps=min(16, max(4, bp * bc // 1024)),
    )  # fmt: skip


def _in_parts(
    x: Tensor, y: Tensor, told: Told, offset: Tensor | None, mean: Tensor, rstd: Tensor,
    pixels: int, width: int, eps: float, silu: bool, two: Two | None,
) -> None:  # fmt: skip
    b, channels = x.shape[:2]
    groups = mean.shape[1]
    bc = min(64, power(channels))
    bp, tiles = 2048 // bc, -(-channels // bc)
    rounds = rounds_of(b * pixels * tiles // (bp * ENOUGH), 4)
    chunks = -(-pixels // (bp * rounds))
    part = torch.empty((2, b, chunks, channels), dtype=torch.float32, device=x.device)
    started(kernels.parts, (b, chunks, tiles))(
        x, *_sources(x, two), part, pixels, channels, chunks, ROUNDS=rounds, BP=bp, BC=bc, TWO=two is not None, num_warps=4
    )  # fmt: skip
    moved = moving(x, offset)
    started(kernels.joined, (b, groups))(
        part, *moved, mean, rstd, pixels, channels, groups, chunks, eps,
        PART=bp * rounds, WIDTH=width, BN=power(chunks), BC=power(width), MOVED=offset is not None, num_warps=4,
    )  # fmt: skip
    started(kernels.spread, (b, chunks, tiles))(
        x, y, *told.pointers, *moved, mean, rstd, pixels, channels, groups, width,
        ROUNDS=rounds, BP=bp, BC=bc, TOLD=told.scale is not None, MOVED=offset is not None, SILU=silu, num_warps=4,
    )  # fmt: skip


class Slopes(NamedTuple):
    """dx; over pixels, (B, C): the sums of the gradient and of the gradient times the normalised value; the offset's gradient."""

    dx: Tensor
    first: Tensor
    second: Tensor
    doffset: Tensor | None


def backward(x: Tensor, dy: Tensor, told: Told, offset: Tensor | None, mean: Tensor, rstd: Tensor, *, silu: bool) -> Slopes:
    """Of y's gradient, channels side by side as x."""
    b, c, rows, columns = x.shape
    groups, pixels = mean.shape[1], rows * columns
    width = c // groups
    bc = min(64, power(c))
    bp = 4096 // bc
    rounds = rounds_of(b * pixels * c // (bp * bc * FEW))
    chunks = -(-pixels // (bp * rounds))
    sums = torch.empty((2 if offset is None else 3, b, chunks, c), dtype=torch.float32, device=x.device)
    shapes = {"WIDTH": width, "BP": bp, "BC": bc, "TOLD": told.scale is not None, "SILU": silu, "num_warps": 4}
    read = (x, dy, mean, rstd, *told.pointers, *moving(x, offset))
    started(kernels.slopes, (b, chunks, -(-c // bc)))(
        *read, sums, pixels, c, groups, chunks, ROUNDS=rounds, MOVED=offset is not None, **shapes
    )  # fmt: skip
    first, second, *values = sums.sum(2)
    weight = told.weight.float() if told.scale is None else told.weight.float() * (1 + told.scale.float())
    m1, m2 = ((weight * each).view(b, groups, width).sum(2) / (width * pixels) for each in (first, second))
    dx = torch.empty_like(x)
    started(kernels.descend, (b, -(-pixels // bp), -(-c // bc)))(
        x, dy, dx, *read[2:], m1.contiguous(), m2.contiguous(), pixels, c, groups, MOVED=offset is not None, **shapes
    )  # fmt: skip
    doffset = None
    if values:  # dx summed over the pixels, without reading it
        of_groups = (form.repeat_interleave(width, dim=1) for form in (rstd, pixels * m1, m2))
        r, below, tilt = of_groups
        doffset = r * (weight * first - below - tilt * values[0])
    return Slopes(dx, first, second, doffset)
