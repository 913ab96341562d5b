"""Which sizes of picture a network of strides can take."""

from __future__ import annotations

from torch import Tensor


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
