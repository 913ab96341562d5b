"""Numbers in [-1, 1] -> a Pillow image."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from PIL.Image import Image


def to_picture(image: Tensor) -> Image:
    """(C, H, W) in [-1, 1] -> a Pillow image; C is 1 or 3."""
    from PIL import Image

    levels = ((image.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    pixels = levels[0].numpy() if levels.shape[0] == 1 else levels[:3].permute(1, 2, 0).contiguous().numpy()
    return Image.fromarray(pixels)
