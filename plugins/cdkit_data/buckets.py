"""Aspect-ratio buckets: pictures keep about their own shape, and those of one shape share batches (SDXL, 2023, section 2.3)."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import NamedTuple


class Sides(NamedTuple):
    """Rows and columns."""

    height: int
    width: int


def shapes(size: int, step: int, aspect: float) -> tuple[Sides, ...]:
    """Every pair of multiples of `step` of at most size x size pixels, as wide as they can be, no longer than `aspect` to 1."""
    found: set[Sides] = {Sides(size, size)}
    for side in range(step, int(size * math.sqrt(aspect)) + 1, step):
        other = size * size // side // step * step
        if other >= step and max(side, other) <= aspect * min(side, other):
            found |= {Sides(side, other), Sides(other, side)}
    return tuple(sorted(found))


def nearest(sides: Sides, among: Sequence[Sides]) -> int:
    """Which of them is most like it in shape; of equals the largest."""
    own = math.log(sides.width / sides.height)
    return min(
        range(len(among)),
        key=lambda place: (
            round(abs(math.log(among[place].width / among[place].height) - own), 9),
            -among[place].width * among[place].height,
        ),
    )


def sides_of(content: bytes) -> Sides | None:
    """A picture's, upright, from its header alone; None where it has none that can be read."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content), formats=("PNG", "JPEG", "WEBP")) as picture:
            turned = picture.getexif().get(0x0112, 1) >= 5
            width, height = picture.size
    except Exception:  # whatever is wrong with it, reading it says so
        return None
    return (Sides(width, height) if turned else Sides(height, width)) if width and height else None
