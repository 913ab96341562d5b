"""Numbers in [-1, 1] -> a Pillow image."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from PIL.Image import Image

INK = (255, 106, 0)  # of what is laid over a picture; it stands out from grey and from most colours
DARKENED = 0.3  # of a picture's brightness, which spans 2


def to_picture(image: Tensor) -> Image:
    """(C, H, W) in [-1, 1] -> a Pillow image; C is 1 or 3."""
    from PIL import Image

    levels = ((image.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    pixels = levels[0].numpy() if levels.shape[0] == 1 else levels[:3].permute(1, 2, 0).contiguous().numpy()
    return Image.fromarray(pixels)


def png_uri(picture: Image) -> str:
    """A picture as a PNG within a page."""
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", optimize=True)
    return uri(buffer.getvalue(), "png")


def uri(content: bytes, kind: str) -> str:
    """A picture's file as a data URI."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def veiled(image: Tensor, share: Tensor) -> Tensor:
    """An image (C, H, W) in [-1, 1], darkened, with INK over it where share (H, W) in [0, 1] is large -> (3, H, W)."""
    ground = (image[:3].expand(3, -1, -1) + 1) * DARKENED
    ink = torch.tensor(INK, dtype=ground.dtype).view(3, 1, 1) / 255
    over = share.clamp(0, 1)
    return ((ground * (1 - over) + ink * over) * 2 - 1).clamp(-1, 1)
