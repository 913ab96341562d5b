"""Reads a picture that may be anything: PNG, JPEG or WebP, with every limit checked before a pixel is decoded."""

from __future__ import annotations

import io
import os
import stat
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from cdkit.parts import DataError

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

FORMATS = ("PNG", "JPEG", "WEBP")
MOST_BYTES = 64 << 20
MOST_PIXELS = 1 << 24
MOST_ASPECT = 20

Colour: TypeAlias = tuple[int, int, int]


@dataclass(slots=True)
class Notes:
    """What was changed or dropped on the way, once each."""

    lines: list[str] = field(default_factory=list[str])

    def add(self, line: str) -> None:
        if line not in self.lines:
            self.lines.append(line)


def file_bytes(root: Path, name: str) -> bytes:
    """The bytes of a file under root, named by a relative path that neither climbs out nor passes a symbolic link."""
    path = _inside(root, name)
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}", hint="mend its line, or put the file there") from error
    found = os.fstat(handle)
    if not stat.S_ISREG(found.st_mode):
        os.close(handle)
        raise DataError(f"{path}: not a file", hint="`file_name` names a picture")
    with os.fdopen(handle, "rb") as file:
        if found.st_size > MOST_BYTES:
            raise DataError(f"{path}: {found.st_size:,} bytes; at most {MOST_BYTES:,} are read")
        return file.read(MOST_BYTES)


def _inside(root: Path, name: str) -> Path:
    parts = PurePosixPath(name.replace("\\", "/")).parts
    if not parts or "\0" in name or ".." in parts or PurePosixPath(parts[0]).is_absolute() or ":" in parts[0]:
        raise DataError(f"{name!r} leads out of {root}", hint="file names are relative to the metadata file, without ..")
    path = root
    for part in parts:
        path = path / part
        if path.is_symlink():
            raise DataError(f"{path}: a symbolic link; pictures must lie in the folder themselves", hint="copy the file there")
    return path


def decode(content: bytes, name: str, *, background: Colour, notes: Notes) -> Picture:
    """An RGB picture, upright, 8 bits a channel; DataError that names it, whatever is wrong with it."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            return _rgb(_opened(content, name, notes), background, notes, name)
        except DataError:
            raise
        except Exception as error:  # decoders of hostile bytes raise nearly anything
            raise DataError(f"{name}: cannot be decoded ({_reason(error)})", hint="the file is damaged; replace it") from error


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:160]


def _opened(content: bytes, name: str, notes: Notes) -> Picture:
    """Opened and measured, and only then decoded."""
    from PIL import Image, UnidentifiedImageError

    if not content:
        raise DataError(f"{name}: not an image: the file is empty")
    try:
        picture = Image.open(io.BytesIO(content), formats=FORMATS)
    except UnidentifiedImageError as error:
        raise DataError(
            f"{name}: not an image that can be read; expected PNG, JPEG or WebP", hint="convert it, or remove its line"
        ) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(f"{name}: too many pixels; at most {MOST_PIXELS:,} are decoded", hint="make it smaller first") from error
    _measure(picture.width, picture.height, name)
    _whole(picture, content, name, notes)
    picture.load()
    return picture


def _measure(width: int, height: int, name: str) -> None:
    if width < 1 or height < 1:
        raise DataError(f"{name}: {width}x{height} has no pixels")
    if width * height > MOST_PIXELS:
        raise DataError(
            f"{name}: {width}x{height} is {width * height:,} pixels; at most {MOST_PIXELS:,} are decoded",
            hint="make it smaller first",
        )
    if max(width, height) > MOST_ASPECT * min(width, height):
        raise DataError(f"{name}: {width}x{height} is longer than {MOST_ASPECT} to 1", hint="cut it, or remove its line")


def _whole(picture: Picture, content: bytes, name: str, notes: Notes) -> None:
    """Checksums of a PNG, which decoding alone does not look at; notes on what is odd but can be read."""
    from PIL import Image

    if picture.format == "PNG":
        if b"IEND" not in content[-4096:]:
            notes.add(f"{name}: the end of the PNG (IEND) is missing")
        else:
            Image.open(io.BytesIO(content), formats=FORMATS).verify()
    if getattr(picture, "is_animated", False):
        notes.add(f"{name}: animated; only the first frame is used")
    if not _profile_is_sound(picture.info.get("icc_profile")):
        notes.add(f"{name}: its colour profile is broken and was dropped")


def _profile_is_sound(profile: bytes | None) -> bool:
    from PIL import ImageCms

    if profile is None:
        return True
    try:
        ImageCms.ImageCmsProfile(io.BytesIO(profile))
    except (OSError, ImageCms.PyCMSError):
        return False
    return True


def _rgb(picture: Picture, background: Colour, notes: Notes, name: str) -> Picture:
    from PIL import ImageOps

    upright = ImageOps.exif_transpose(picture)
    convert: Callable[[Picture], Picture] | None = None
    if upright.mode.startswith("I"):
        convert = _eight_bits
    elif "A" in upright.mode or "a" in upright.mode or "transparency" in upright.info:
        return _composited(upright, background)
    elif upright.mode == "CMYK":
        notes.add("CMYK pictures were converted to RGB")
    elif upright.mode == "F":
        raise DataError(f"{name}: floating-point pixels have no known range", hint="convert it to 8 or 16 bits")
    return (convert(upright) if convert else upright).convert("RGB")


def _eight_bits(picture: Picture) -> Picture:
    """16-bit grey, scaled; Pillow's own conversion would clip nearly all of it to white."""
    from PIL import Image

    values = np.asarray(picture).astype(np.int64)
    return Image.fromarray(np.rint(np.clip(values, 0, 65535) / 257).astype(np.uint8))


def _composited(picture: Picture, background: Colour) -> Picture:
    from PIL import Image

    layer = picture.convert("RGBA")
    ground = Image.new("RGBA", layer.size, (*background, 255))
    return Image.alpha_composite(ground, layer).convert("RGB")
