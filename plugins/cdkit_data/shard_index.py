"""The index of many tar files: where each of their samples lies. Made once, kept in the cache folder, read as it is needed."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from glob import glob
from itertools import chain
from pathlib import Path

import numpy as np
from cdkit.parts import DataError, cache_folder
from numpy.typing import NDArray

from cdkit_data.buckets import Sides, nearest, sides_of
from cdkit_data.cache import say, write_bytes
from cdkit_data.tar import files_in, samples_of

PICTURES = ("png", "jpg", "jpeg", "webp")


@dataclass(frozen=True, eq=False)
class Index:
    """N samples in S files. places: (N, 2) int64, where each begins in its file and how many bytes it takes. counts: (S,)."""

    paths: tuple[Path, ...]
    places: NDArray[np.int64]
    counts: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.places)


def shards_of(pattern: str) -> tuple[Path, ...]:
    """The files that a pattern names: `train-{000000..000099}.tar`, `train-*.tar`. DataError where there are none, or gaps."""
    named = list(
        chain.from_iterable(sorted(glob(one)) if "*" in one else [one] for one in braces(str(Path(pattern).expanduser())))
    )
    paths = tuple(Path(one) for one in named)
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise DataError(f"{missing[0]}: there is no such file, and {len(missing) - 1} more are missing")
    if not paths:
        raise DataError(f"{pattern}: names no file", hint="a pattern is train-*.tar or train-{000000..000099}.tar")
    return paths


def braces(pattern: str) -> list[str]:
    """`a-{08..10}` -> a-08, a-09, a-10."""
    found = re.search(r"\{(\d+)\.\.(\d+)\}", pattern)
    if found is None:
        return [pattern]
    first, last = found[1], found[2]
    numbers = (f"{number:0{len(first)}d}" for number in range(int(first), int(last) + 1))
    return [one for number in numbers for one in braces(pattern[: found.start()] + number + pattern[found.end() :])]


def index_of(paths: Sequence[Path]) -> Index:
    """Of these files as they are now; read once, until one of them changes."""
    digest = print_of(paths)
    file = cache_folder() / "shards" / f"{digest}.index"
    if not file.is_file():
        _make(paths, file)
    numbers = np.memmap(file, dtype="<i8", mode="r")
    counts, places = numbers[: len(paths)], numbers[len(paths) :].reshape(-1, 2)
    if int(counts.sum()) != len(places):
        raise DataError(f"{file}: is damaged", hint="delete it; it is made again")
    return Index(tuple(paths), places, tuple(int(count) for count in counts))


def print_of(paths: Sequence[Path]) -> str:
    """A digest of the files' names, sizes and times of change."""
    told = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in paths]
    return hashlib.blake2b(repr(told).encode(), digest_size=16).hexdigest()


def _make(paths: Sequence[Path], file: Path) -> None:
    say(f"looking where the samples of {len(paths)} files lie; this is kept in {file}")
    found = [samples_of(path) for path in paths]
    counts = np.array([len(places) for places in found], dtype="<i8")
    write_bytes(file, counts.tobytes() + b"".join(places.astype("<i8").tobytes() for places in found))


def bucket_index(paths: Sequence[Path], shapes: Sequence[Sides]) -> NDArray[np.uint8]:
    """(N,): of each sample, which of these shapes its picture is most like. Made once, until a file changes."""
    told = hashlib.blake2b(repr((print_of(paths), tuple(shapes))).encode(), digest_size=16).hexdigest()
    file = cache_folder() / "shards" / f"{told}.shapes"
    if not file.is_file():
        say(f"looking what shape the pictures of {len(paths)} files have; this is kept in {file}")
        index = index_of(paths)
        ends = np.cumsum(index.counts)
        found = [_bucket(index, int(np.searchsorted(ends, row, side="right")), row, shapes) for row in range(len(index))]
        write_bytes(file, bytes(found))
    return np.memmap(file, dtype=np.uint8, mode="r")


def _bucket(index: Index, file: int, row: int, shapes: Sequence[Sides]) -> int:
    path = index.paths[file]
    begin, length = (int(number) for number in index.places[row])
    with path.open("rb") as opened:
        opened.seek(begin)
        _, files = files_in(opened.read(length), f"{path}, sample {row}")
    sides = next((sides_of(content) for ending, content in files.items() if ending in PICTURES), None)
    return nearest(sides or Sides(1, 1), shapes)
