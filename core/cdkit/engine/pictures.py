"""Samples on disk: a labelled grid and single PNGs, each with the recipe that draws it again."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

from cdkit.model import Samples

LONGEST = 60  # bytes of a caption in a file's name


def save(samples: Samples, folder: Path, *, metadata: bool = True) -> list[Path]:
    """Write grid.png and one PNG a picture; the grid comes first in what is returned. Never overwrites a picture."""
    folder.mkdir(parents=True, exist_ok=True)
    start = 1 + max((number(path) for path in folder.glob("[0-9]*-*.png")), default=-1)
    singles = [
        samples.one(index).save(folder / f"{start + index:04d}-{slug(caption)}.png", metadata=metadata)
        for index, caption in enumerate(samples.captions)
    ]
    return [samples.save(folder / unused(folder, "grid"), metadata=metadata), *singles]


def number(path: Path) -> int:
    """The number that a picture's name starts with; -1 where there is none."""
    found = re.match(r"\d+", path.name)
    return int(found.group()) if found else -1


def unused(folder: Path, stem: str) -> str:
    """stem.png, or the first stem-2.png, stem-3.png … that is not there."""
    name, count = f"{stem}.png", 1
    while (folder / name).exists():
        count += 1
        name = f"{stem}-{count}.png"
    return name


def slug(caption: str) -> str:
    """A caption as part of a file's name: letters and digits of any script, the rest dashes, not too long."""
    text = unicodedata.normalize("NFC", caption).lower()
    safe = re.sub(r"[^\w]+", "-", text).strip("-_") or "picture"
    return safe.encode()[:LONGEST].decode(errors="ignore").strip("-_")
