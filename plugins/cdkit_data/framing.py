"""How a scene came to be a picture: with how many rows it was drawn, and where it was cut. What SDXL is told of its pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from cdkit_data.scene import Lot


@dataclass(frozen=True, slots=True)
class Framing:
    """A scene of `original` rows and columns, brought to `size` + margin of them and cut to `size` from `top` and `left`."""

    original: int
    top: int
    left: int
    size: int

    def told(self) -> tuple[int, ...]:
        """The six numbers of SDXL (Podell et al. 2023, section 2.2), rows first: original, crop, target."""
        return (self.original, self.original, self.top, self.left, self.size, self.size)


def framing(index: int, size: int, originals: Sequence[int], margin: int) -> Framing:
    """The framing of the scene of this index; without originals it is drawn as large as it will be."""
    lot = Lot(f"shapes/framing/{index}")
    return Framing(lot.one(originals or (size + margin,)), lot.one(range(margin + 1)), lot.one(range(margin + 1)), size)


def framed(covers: NDArray[np.uint8], framings: Sequence[Framing], margin: int) -> NDArray[np.uint8]:
    """Masks (N, K, original, original), N of one original -> (N, K, size, size): resized without aliases, then cut."""
    size = framings[0].size
    wide = F.interpolate(
        torch.from_numpy(covers).float(),
        size=(size + margin, size + margin),
        mode="bilinear",
        antialias=True,
        align_corners=False,
    )
    cut = [one[:, f.top : f.top + size, f.left : f.left + size] for one, f in zip(wide, framings, strict=True)]
    return torch.stack(cut).round().clamp(0, 255).to(torch.uint8).numpy()
