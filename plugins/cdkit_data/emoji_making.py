"""Out of the packages' files: every emoji in every style, each picture once, with all that is true of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdkit_data.cache import say
from cdkit_data.captions import unique
from cdkit_data.emoji_drawing import pixels
from cdkit_data.emoji_icons import read_chars, read_files, read_svgs
from cdkit_data.emoji_names import LANGUAGES, WORDS, Name, codes_by_slug, read_names
from cdkit_data.emoji_styles import NAMES, STYLES, Style
from cdkit_data.emoji_things import things_of

Pixels = NDArray[np.uint8]


def make(paths: Mapping[str, Path], size: int) -> tuple[Pixels, list[dict[str, Any]]]:
    """Pictures (N, size, size, 3) on white, and a row of facts for each. paths: the tarballs by requirement."""
    names = read_names(paths[NAMES.requirement])
    found: dict[bytes, tuple[Style, list[str]]] = {}  # by pixels: in which style first, and every emoji that looks so in it
    for style, pictures in _by_style(paths, names):
        before, lost = len(found), 0
        for code, content in pictures.items():
            drawn = pixels(content, size)
            if drawn is None:
                lost += 1
                continue
            first, codes = found.setdefault(drawn.tobytes(), (style, []))
            if first is style:
                codes.append(code)
        say(f"emoji: {style.name}: {len(pictures):,} drawn, {len(found) - before:,} distinct, {lost} show nothing")
    things = things_of([codes for _, codes in found.values()])
    rows = [_row(style, [names[code] for code in codes], things[codes[0]]) for style, codes in found.values()]
    images = np.frombuffer(b"".join(found), np.uint8).reshape(len(found), size, size, 3)
    return images, rows


def _by_style(paths: Mapping[str, Path], names: Mapping[str, Name]) -> Iterator[tuple[Style, dict[str, bytes]]]:
    """Every style with its picture files by code, one style at a time: they are large."""
    chars = {style.name: read_chars(paths[style.tarball.requirement], names) for style in STYLES}
    slugs = codes_by_slug(names, chars.values())
    for style in STYLES:
        path = paths[style.tarball.requirement]
        pictures = read_files(path, names) or read_svgs(path, chars[style.name], slugs)
        yield style, pictures


def _row(style: Style, names: Sequence[Name], thing: str) -> dict[str, Any]:
    """What is true of one picture, ready for JSON."""
    words = {
        f"{what}.{language}": unique(text for name in names for text in name.words[what, language])
        for what in WORDS
        for language in LANGUAGES
    }
    return {
        "codes": [name.code for name in names],
        "emoji": [name.emoji for name in names],
        "thing": thing,
        "style": style.name,
        **words,
        "licence": style.licence,
        "author": style.author,
    }
