"""The emoji as the cache folder keeps them: pictures in two sizes (npz), a line of facts for each (jsonl), their digests."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from cdkit.parts import DataError
from numpy.typing import NDArray

from cdkit_data.cache import sha256, write_bytes
from cdkit_data.emoji_drawing import halved

SIZES = (32, 64)
FACTS, DIGESTS = "emoji.jsonl", "emoji.sha256"
FETCH = "cdkit data fetch emoji"


def pictures_file(size: int) -> str:
    return f"emoji-{size}.npz"


def keep(folder: Path, images: NDArray[np.uint8], rows: Sequence[dict[str, Any]]) -> None:
    """images (N, 64, 64, 3) and their rows into the folder, the digests last: without them nothing is read."""
    (folder / DIGESTS).unlink(missing_ok=True)
    for size, pictures in zip(SIZES, (halved(images), images), strict=True):
        content = io.BytesIO()
        np.savez_compressed(content, images=pictures)
        write_bytes(folder / pictures_file(size), content.getvalue())
    lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    write_bytes(folder / FACTS, "".join(lines).encode())
    digests = (f"{sha256(folder / file)}  {file}\n" for file in _files())
    write_bytes(folder / DIGESTS, "".join(digests).encode())  # as `sha256sum --check` reads it


def is_kept(folder: Path) -> bool:
    """True if every file is there and as it was written."""
    try:
        return all(sha256(folder / file) == digest for file, digest in _digests(folder).items())
    except OSError:
        return False


def read(folder: Path, size: int, by_hand: str) -> tuple[NDArray[np.uint8], list[dict[str, Any]]]:
    """Pictures (N, size, size, 3) and their rows; DataError that says how to get them, or get them again."""
    if not (folder / DIGESTS).is_file():
        raise DataError(f"emoji is not here ({folder}); run: {FETCH}", hint=by_hand)
    digests = _digests(folder)
    for file in (pictures_file(size), FACTS):
        if not (folder / file).is_file() or sha256(folder / file) != digests[file]:
            raise DataError(f"{folder / file}: damaged, its content is not what was fetched", hint=f"fetch it again: {FETCH}")
    with np.load(folder / pictures_file(size), allow_pickle=False) as archive:
        images = archive["images"]
    return images, [json.loads(line) for line in (folder / FACTS).read_text("utf-8").splitlines()]


def _files() -> tuple[str, ...]:
    return (*(pictures_file(size) for size in SIZES), FACTS)


def _digests(folder: Path) -> dict[str, str]:
    """Digests by file; an empty one where there is none."""
    lines = (folder / DIGESTS).read_text("utf-8", errors="replace").splitlines() if (folder / DIGESTS).is_file() else []
    found = {file: digest for digest, _, file in (line.partition("  ") for line in lines)}
    return {file: found.get(file, "") for file in _files()}
