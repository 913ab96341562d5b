"""pictures: tensors as data URIs, which the page can show without another request."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING, Any

import cdkit
from torch import Tensor

if TYPE_CHECKING:
    from PIL.Image import Image

INK = (255, 106, 0)  # of what is laid over a picture, in both themes
THICKEST = 0.85  # its opacity where a word acts most


def picture(image: Tensor) -> str:
    """(C, H, W) in [-1, 1]."""
    return png(cdkit.to_picture(image))


def overlay(share: Tensor) -> str:
    """(H, W) in [0, 1] -> a picture that is clear where it is 0, to be laid over another."""
    from PIL import Image

    alpha: Any = (share.clamp(0, 1) * 255 * THICKEST).round().byte().numpy()
    veil = Image.new("RGBA", (share.shape[1], share.shape[0]), INK)
    veil.putalpha(Image.fromarray(alpha))
    return png(veil)


def png(made: Image) -> str:
    buffer = io.BytesIO()
    made.save(buffer, format="PNG")
    return uri(buffer.getvalue(), "png")


def uri(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
