"""Pictures that a person hands in: a file of an allowed format and size -> numbers in [-1, 1], upright and without alpha."""

from __future__ import annotations

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
MOST = 64_000_000  # pixels


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
    from PIL import Image, ImageOps, UnidentifiedImageError

    if not path.is_file():
        raise UsageError(f"{path}: no such picture")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            picture = Image.open(path, formats=FORMATS)
        if picture.width * picture.height > MOST:
            raise DataError(f"{path}: {picture.width} x {picture.height} pixels; at most {MOST:,} are read")
        upright = ImageOps.exif_transpose(picture)
        upright.load()
    except UnidentifiedImageError as error:
        raise DataError(f"{path}: is no picture that is read here; expected {', '.join(FORMATS)}") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    if upright.mode in {"RGBA", "LA", "P", "PA"}:
        over = upright.convert("RGBA")
        white = Image.new("RGBA", over.size, "white")
        return Image.alpha_composite(white, over).convert("RGB")
    if upright.mode.startswith(("I", "F")):
        raise DataError(f"{path}: has {upright.mode} pixels; expected 8 bits a channel", hint="save it as an 8-bit PNG")
    return upright
