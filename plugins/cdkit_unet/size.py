"""The widths of a network's levels, and which sizes of picture it can take."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor


def widths_of(width: int, mult: Sequence[int]) -> list[int]:
    """Channels of every level, the finest first. ValueError if there is no level."""
    if not mult:
        raise ValueError("mult is empty; expected one number a level, the finest first, such as [1, 2, 4]")
    return [width * m for m in mult]


def check_size(x: Tensor, multiple: int) -> None:
    """Raise ValueError, naming the nearest sizes that would do, if H or W of x (B, C, H, W) is no multiple of `multiple`."""
    height, width = x.shape[2:]
    if height % multiple or width % multiple:
        raise ValueError(
            f"the picture is {height} x {width}, but both sides must be multiples of {multiple}; the nearest sizes are "
            f"{_near(height, multiple)} for the height and {_near(width, multiple)} for the width"
        )


def _near(length: int, multiple: int) -> str:
    below, above = length // multiple * multiple, -(-length // multiple) * multiple
    return " or ".join(str(size) for size in dict.fromkeys((below, above)) if size)
