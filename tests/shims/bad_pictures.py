"""Pictures that no reader should take: what they hold, and what the reader of folders says of them."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image, PngImagePlugin


def encoded(picture: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    out = io.BytesIO()
    picture.save(out, format=kind, **options)
    return out.getvalue()


def plain(colour: Any = (200, 100, 50), size: tuple[int, int] = (16, 16), mode: str = "RGB") -> Image.Image:
    return Image.new(mode, size, colour)


def noise(seed: int, size: int = 16) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8))


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_of(width: int, height: int, *, extra: bytes = b"") -> bytes:
    """A PNG that says it is this large, with hardly any data."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + extra + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")


def flip_in_data(content: bytes) -> bytes:
    place = content.index(b"IDAT") + 4 + 6
    return content[:place] + bytes([content[place] ^ 0x10]) + content[place + 1 :]


def bad_checksum(content: bytes) -> bytes:
    length = struct.unpack(">I", content[content.index(b"IDAT") - 4 : content.index(b"IDAT")])[0]
    place = content.index(b"IDAT") + 4 + length
    return content[:place] + b"\0\0\0\0" + content[place + 4 :]


TEXT_BOMB = chunk(b"zTXt", b"key\0\0" + zlib.compress(b"a" * (PngImagePlugin.MAX_TEXT_CHUNK * 2)))
BAD: dict[str, tuple[Callable[[], bytes], str]] = {
    "truncated jpeg": (lambda: encoded(noise(0, 64), "JPEG")[:-600], "cannot be decoded"),
    "truncated png": (lambda: encoded(noise(0, 64))[:-600], "cannot be decoded"),
    "empty file": (lambda: b"", "not an image: the file is empty"),
    "text": (lambda: b"a cat", "not an image that can be read; expected PNG, JPEG or WebP"),
    "html": (lambda: b"<!DOCTYPE html><html></html>", "not an image that can be read"),
    "float tiff": (lambda: encoded(plain(0.5, mode="F"), "TIFF"), "not an image that can be read"),
    "gif": (lambda: encoded(plain(), "GIF"), "expected PNG, JPEG or WebP"),
    "eps": (lambda: encoded(plain(), "EPS"), "expected PNG, JPEG or WebP"),
    "svg": (lambda: b'<svg xmlns="http://www.w3.org/2000/svg"/>', "expected PNG, JPEG or WebP"),
    "psd": (lambda: b"8BPS\0\1" + b"\0" * 6 + struct.pack(">HIIHH", 3, 16, 16, 8, 3) + b"\0" * 64, "expected PNG, JPEG or WebP"),
    "tiff": (lambda: encoded(plain(), "TIFF"), "expected PNG, JPEG or WebP"),
    "1x1": (lambda: encoded(plain(size=(1, 1))), "1x1 is smaller than 8x8"),
    "30000x1": (lambda: png_of(30000, 1), "30000x1 is longer than 20 to 1"),
    "bomb 13000": (lambda: png_of(13000, 13000), "too many pixels|169,000,000 pixels; at most 16,777,216"),
    "bomb 20000": (lambda: png_of(20000, 20000), "too many pixels; at most 16,777,216"),
    "bomb 5000": (lambda: png_of(5000, 5000), "5000x5000 is 25,000,000 pixels; at most 16,777,216 are decoded"),
    "0x0": (lambda: png_of(0, 0), "not an image that can be read"),
    "text bomb": (lambda: png_of(16, 16, extra=TEXT_BOMB), "cannot be decoded|not an image"),
    "bad checksum": (lambda: bad_checksum(encoded(noise(0))), "cannot be decoded"),
    "flipped bit": (lambda: flip_in_data(encoded(noise(0))), "cannot be decoded"),
}  # fmt: skip
