"""Pictures as people hand them over: a path, a PIL image or a tensor, every limit checked before a pixel is decoded."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from cdkit.parts import PromptError
from torch import Tensor

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

FORMATS = ("PNG", "JPEG", "WEBP")  # some of Pillow's other decoders start programs
MOST_BYTES = 64 << 20
MOST_PIXELS = 1 << 24
MOST_ASPECT = 20
BEYOND = 1e-3  # how far rounding may carry a tensor out of [-1, 1]


def read(raw: Sequence[Any]) -> list[Picture]:
    """B raw values -> B RGB pictures. PromptError, with the index and what to do, for what is none or too large."""
    return [_picture(value, f"image {index}") for index, value in enumerate(raw)]


def _picture(value: Any, name: str) -> Picture:
    from PIL import Image

    if isinstance(value, Tensor):
        return _of_tensor(value, name)
    if isinstance(value, Image.Image):
        return _rgb(value, name)
    if isinstance(value, str | os.PathLike):
        return _of_file(Path(value), f"{name}, {str(value)!r}")
    raise PromptError(
        f"{name}: expected a path, a PIL image or a tensor (3, H, W) in [-1, 1], got {type(value).__name__}",
        hint="a numpy array becomes a PIL image with PIL.Image.fromarray",
    )


def _of_tensor(value: Tensor, name: str) -> Picture:
    """As it would be saved: 8 bits a channel, which is what CLIP was trained with."""
    from PIL import Image

    if value.dim() != 3 or value.shape[0] != 3 or not value.is_floating_point():
        dtype = str(value.dtype).removeprefix("torch.")
        raise PromptError(f"{name}: expected a tensor (3, H, W) of floating numbers, got {tuple(value.shape)} of {dtype}")
    _measure(value.shape[2], value.shape[1], name)
    numbers = value.detach().float().cpu()
    if not bool(numbers.isfinite().all()):
        raise PromptError(f"{name}: it holds numbers that are not finite")
    low, high = float(numbers.min()), float(numbers.max())
    if low < -1 - BEYOND or high > 1 + BEYOND:
        raise PromptError(
            f"{name}: expected numbers in [-1, 1], got {low:.4g} to {high:.4g}", hint="bring them there: x / 127.5 - 1 for bytes"
        )
    pixels = ((numbers + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    return Image.fromarray(pixels.permute(1, 2, 0).numpy())


def _of_file(path: Path, name: str) -> Picture:
    """A file, upright; whatever is wrong with it becomes a PromptError that names it."""
    from PIL import Image, ImageOps

    hint = "give the path of a PNG, JPEG or WebP file"
    try:
        if not path.is_file():
            raise PromptError(f"{name}: no such file", hint=hint)
        if path.stat().st_size > MOST_BYTES:
            raise PromptError(f"{name}: {path.stat().st_size:,} bytes; at most {MOST_BYTES:,} are read", hint="make it smaller")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # `_measure` asks for less
            with Image.open(path, formats=FORMATS) as picture:
                _measure(picture.width, picture.height, name)
                if picture.format == "PNG":  # its checksums, which decoding does not look at
                    with Image.open(path, formats=FORMATS) as again:
                        again.verify()
                return _rgb(ImageOps.exif_transpose(picture), name)
    except PromptError:
        raise
    except Exception as error:  # decoders of hostile bytes raise nearly anything
        raise PromptError(
            f"{name}: cannot be read as an image ({type(error).__name__}: {str(error)[:120]})", hint=hint
        ) from error


def _measure(width: int, height: int, name: str) -> None:
    if not width * height:
        raise PromptError(f"{name}: {width} x {height} has no pixels")
    if width * height > MOST_PIXELS:
        raise PromptError(
            f"{name}: {width} x {height} is {width * height:,} pixels; at most {MOST_PIXELS:,} are read", hint="make it smaller"
        )
    if max(width, height) > MOST_ASPECT * min(width, height):
        raise PromptError(
            f"{name}: {width} x {height} is longer than {MOST_ASPECT} to 1", hint="cut it: only its middle square is looked at"
        )


def _rgb(picture: Picture, name: str) -> Picture:
    """RGB, what is transparent on white."""
    from PIL import Image

    _measure(picture.width, picture.height, name)
    if picture.mode.startswith(("I", "F")):  # Pillow would clip them at 255
        raise PromptError(f"{name}: its mode is {picture.mode}; expected 8 bits a channel", hint="convert it to 8 bits first")
    if "A" not in picture.getbands() and "transparency" not in picture.info:
        return picture.convert("RGB")
    white = Image.new("RGBA", picture.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, picture.convert("RGBA")).convert("RGB")
