"""`--image`, `--strength` and `--mask` of the command line -> what a drawing sets out from."""

from __future__ import annotations

from pathlib import Path

from cdkit.engine.photographs import opened, read_mask, read_photograph
from cdkit.errors import UsageError
from cdkit.model import Model
from cdkit.model.start import Start

STRENGTH = 0.8  # of a picture without a mask; with one, what is masked is drawn from nothing


def start_of(model: Model, image: Path | None, mask: Path | None, strength: float | None) -> Start | None:
    """None where no picture is given. UsageError for a mask or a strength without one."""
    if image is None:
        for name, value in (("--mask", mask), ("--strength", strength)):
            if value is not None:
                raise UsageError(f"{name} needs a picture to work on", hint="name it with --image")
        return None
    channels = 3 if model.autoencoder is not None else model.shape.channels
    whole = 1.0 if mask is not None else STRENGTH
    drawn_anew = None if mask is None else read_mask(mask)
    return Start(read_photograph(image, channels=channels), whole if strength is None else strength, drawn_anew)


def size_of(image: Path | None, height: int | None, width: int | None) -> tuple[int | None, int | None]:
    """In pixels: as asked for, or else the picture's own."""
    if image is None or (height is not None and width is not None):
        return height, width
    picture = opened(image)
    return height or picture.height, width or picture.width
