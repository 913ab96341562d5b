"""embed: a picture within a page: as it is where there is room for it, else as WebP, smaller until there is."""

from __future__ import annotations

import io
from pathlib import Path

from cdkit.model.pixels import uri

ROOM = 6_000_000  # bytes of all pictures of a page: in base64 four thirds of it, and the page stays under 10 MB


def data(path: Path, room: int = ROOM) -> str:
    """A PNG file as a data URI of about room * 4 / 3 characters at most."""
    found = path.read_bytes()
    if len(found) <= room:
        return uri(found, "png")
    return uri(smaller(found, room), "webp")


def smaller(found: bytes, room: int) -> bytes:
    """As WebP, halved until it fits."""
    from PIL import Image

    with Image.open(io.BytesIO(found)) as opened:
        picture = opened.convert("RGB")
    while True:
        buffer = io.BytesIO()
        picture.save(buffer, format="WEBP", quality=85)
        if buffer.tell() <= room or min(picture.size) < 2:
            return buffer.getvalue()
        picture = picture.resize((picture.width // 2, picture.height // 2))
