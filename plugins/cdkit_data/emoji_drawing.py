"""An emoji's picture file, SVG or any that Pillow reads, as pixels on white."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from cdkit.parts import EnvironmentFault
from numpy.typing import NDArray

PLAINEST = 2.0  # standard deviation of the values 0..255; what lies below is an empty or one-coloured square


def rasteriser() -> Any:
    """resvg_py. EnvironmentFault, saying how to get it, if it is not installed."""
    try:
        import resvg_py
    except ImportError as error:
        raise EnvironmentFault("drawing emoji needs resvg-py", hint='pip install "cdkit[emoji]"') from error
    return resvg_py


def pixels(content: bytes, size: int) -> NDArray[np.uint8] | None:
    """(size, size, 3), the longer side filling the square; None for what cannot be drawn, or shows nothing on white."""
    from PIL import Image, UnidentifiedImageError

    try:
        file = _drawn(content, size) if content.startswith(b"<svg") else content
        picture = Image.open(io.BytesIO(file)).convert("RGBA")
    except (ValueError, OSError, UnidentifiedImageError):
        return None
    scale = size / max(picture.size)
    if scale != 1:  # Pillow weights colours by alpha while resizing, so that what is transparent does not bleed into the edges
        sides = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
        picture = picture.resize(sides, Image.Resampling.LANCZOS)
    ground = Image.new("RGBA", (size, size), (255, 255, 255, 255))
    ground.alpha_composite(picture, ((size - picture.width) // 2, (size - picture.height) // 2))
    found = np.asarray(ground.convert("RGB"))
    return found if float(found.std()) >= PLAINEST else None


def _drawn(svg: bytes, size: int) -> bytes:
    return rasteriser().svg_to_bytes(svg_string=svg.decode(), width=size, skip_system_fonts=True)


def halved(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(N, 2S, 2S, 3) -> (N, S, S, 3): the mean of every 2x2 pixels."""
    n, side = images.shape[0], images.shape[1] // 2
    return images.reshape(n, side, 2, side, 2, 3).mean(axis=(2, 4)).round().astype(np.uint8)
