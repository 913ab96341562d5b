"""Anti-aliased circles, squares and triangles from signed distances."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cdkit_data.scene import SHAPES, Thing

Floats = NDArray[np.float64]
HALF, ROOT3 = 0.5, 3.0**0.5


def coverage(things: Sequence[Thing], size: int) -> NDArray[np.uint8]:
    """How much of each pixel each of N things covers, (N, size, size), 0 to 255; edges are one pixel soft."""
    grid = (np.arange(size) + HALF) / size
    x = grid[None, None, :] - np.array([thing.x for thing in things])[:, None, None]
    y = grid[None, :, None] - np.array([thing.y for thing in things])[:, None, None]
    radius = np.array([thing.radius for thing in things])[:, None, None]
    kind = np.array([SHAPES.index(thing.shape) for thing in things])[:, None, None]
    distance = np.choose(kind, [_circle(x, y, radius), _square(x, y, radius), _triangle(x, y, radius)])
    return np.rint(np.clip(HALF - distance * size, 0, 1) * 255).astype(np.uint8)


def _circle(x: Floats, y: Floats, radius: Floats) -> Floats:
    return np.sqrt(x * x + y * y) - radius


def _square(x: Floats, y: Floats, radius: Floats) -> Floats:
    """Corners lie at 1.2 radii, so that it looks as large as a circle (inside: exact; outside: to the nearest side)."""
    return np.maximum(np.abs(x), np.abs(y)) - radius * 0.85


def _triangle(x: Floats, y: Floats, radius: Floats) -> Floats:
    """Equilateral, a corner up: the largest of the distances to its three sides."""
    return np.maximum(np.abs(x) * ROOT3 * HALF - y * HALF, y) - radius * HALF


def paint(covers: NDArray[np.uint8], colours: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Things (N, K, H, W) that do not touch, in their colours (N, K, 3), on black -> pictures (N, 3, H, W)."""
    light = np.einsum("nkhw,nkc->nchw", covers.astype(np.float64) / 255, colours)
    return np.rint(np.clip(light, 0, 255)).astype(np.uint8)
