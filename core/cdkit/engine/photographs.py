"""Pictures that a person hands in: a file of an allowed format and size -> numbers in [-1, 1], upright and without alpha."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from cdkit.errors import DataError, UsageError

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("PNG", "JPEG", "WEBP", "BMP")
MOST_BYTES = 64 << 20
MOST = 1 << 24  # pixels
MOST_ASPECT = 20


def read_photograph(path: Path, *, channels: int = 3) -> Tensor:
    """(channels, H, W) in [-1, 1]; channels is 1 or 3. DataError for what is no such picture."""
    return numbers(opened(path).convert("L" if channels == 1 else "RGB"))


def read_mask(path: Path) -> Tensor:
    """(1, H, W) of 0 and 1: 1, where the picture is white, is what to draw anew."""
    return (read_photograph(path, channels=1) >= 0).float()


def numbers(picture: Image) -> Tensor:
    """A Pillow image, grey or RGB -> (C, H, W) in [-1, 1]."""
    pixels = torch.from_numpy(np.array(picture, dtype=np.float32)) / 127.5 - 1
    return pixels.unsqueeze(0) if pixels.dim() == 2 else pixels.permute(2, 0, 1).contiguous()


def opened(path: Path) -> Image:
    """The file's picture, turned as its EXIF says, over white where it is transparent. DataError, UsageError if there is none."""
    if not path.is_file():
        raise UsageError(f"{path}: no such picture")
    if (size := path.stat().st_size) > MOST_BYTES:
        raise DataError(f"{path}: {size:,} bytes; at most {MOST_BYTES:,} are read")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            upright = _upright(path.read_bytes(), path)
        except DataError:
            raise
        except Exception as error:  # decoders of hostile bytes raise nearly anything
            raise DataError(f"{path}: cannot be read: {error}"[:300], hint="the file is damaged; replace it") from error
    if upright.mode.startswith(("I", "F")):
        raise DataError(f"{path}: has {upright.mode} pixels; expected 8 bits a channel", hint="save it as an 8-bit PNG")
    return _over_white(upright)


def _upright(content: bytes, path: Path) -> Image:
    """Measured, then held to its own checksums, and only then decoded."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        picture = Image.open(io.BytesIO(content), formats=FORMATS)
    except UnidentifiedImageError as error:
        raise DataError(f"{path}: is no picture that is read here; expected {', '.join(FORMATS)}") from error
    except Image.DecompressionBombError as error:
        raise DataError(f"{path}: too many pixels; at most {MOST:,} are read") from error
    _measure(picture.width, picture.height, path)
    if picture.format == "PNG":
        Image.open(io.BytesIO(content), formats=FORMATS).verify()
    upright = ImageOps.exif_transpose(picture)
    upright.load()
    return upright


def _measure(width: int, height: int, path: Path) -> None:
    if width * height > MOST:
        raise DataError(f"{path}: {width} x {height} pixels; at most {MOST:,} are read", hint="make it smaller first")
    if max(width, height) > MOST_ASPECT * min(width, height):
        raise DataError(f"{path}: {width} x {height} is longer than {MOST_ASPECT} to 1", hint="cut it first")


def _over_white(picture: Image) -> Image:
    from PIL import Image

    if picture.mode not in {"RGBA", "LA", "P", "PA"} and "transparency" not in picture.info:
        return picture
    over = picture.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", over.size, "white"), over).convert("RGB")
