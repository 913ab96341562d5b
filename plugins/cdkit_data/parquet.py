"""Rows of parquet files, read where they lie: a group of rows at a time, as the file was written in groups."""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
from cdkit.parts import DataError, EnvironmentFault, cache_folder
from numpy.typing import NDArray

from cdkit_data.cache import say, write_bytes
from cdkit_data.shard_index import print_of

KEPT = 17  # groups of rows in memory: those of a window of training's order, and the next window's first
LARGEST = 1 << 27  # bytes of a group
GROUP = 3 * 8  # bytes that are kept of one


class Streamed:
    """table[row] -> its values by column, of N rows in many files. Nothing is copied to the disk, and KEPT groups are in memory.

    paths: the files. columns: those that are read; the others of a group are not.
    """

    def __init__(self, paths: Sequence[Path], columns: Sequence[str]) -> None:
        self.paths, self.read = tuple(paths), tuple(columns)
        self.digest = print_of(paths)
        self.groups = groups_of(self.paths, self.digest)
        self.columns: Sequence[str] = tuple(opened(self.paths[0]).schema_arrow.names)
        self.ends = list(accumulate(int(rows) for rows in self.groups[:, 2]))
        self._kept: OrderedDict[int, Any] = OrderedDict()

    def __len__(self) -> int:
        return self.ends[-1]

    def __getitem__(self, row: int) -> dict[str, Any]:
        group = bisect_right(self.ends, row)
        begin = self.ends[group - 1] if group else 0
        return self._group(group).slice(row - begin, 1).to_pylist()[0]

    def runs(self, count: int) -> Sequence[int]:
        """How many of the first `count` rows lie in each group."""
        whole = bisect_right(self.ends, count)
        last = count - (self.ends[whole - 1] if whole else 0)
        return [*(int(rows) for rows in self.groups[:whole, 2]), *([last] if last else [])]

    def _group(self, group: int) -> Any:
        if group not in self._kept:
            file, number = (int(value) for value in self.groups[group, :2])
            self._kept[group] = self._load(self.paths[file], number)
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(group)
        return self._kept[group]

    def _load(self, path: Path, number: int) -> Any:
        file, (_, unreadable) = opened(path), parquet_library(path)
        try:
            found = file.read_row_group(number, columns=list(self.read), use_threads=False)
        except unreadable as error:
            raise DataError(f"{path}: rows of group {number} cannot be read: {error}") from error
        if missing := set(self.read) - set(found.column_names):
            raise DataError(f"{path}: has no column {', '.join(sorted(missing))}, which other files have")
        return found

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_kept": OrderedDict()}


def parquet_library(path: Path) -> tuple[Any, tuple[type[Exception], ...]]:
    """pyarrow's module for parquet, and what it raises where a file cannot be read. EnvironmentFault where it is missing."""
    try:
        from pyarrow import ArrowException, parquet
    except ImportError as error:
        raise EnvironmentFault(f"{path}: reading parquet needs pyarrow", hint='pip install "cdkit[parquet]"') from error
    return parquet, (ArrowException, OSError)


def opened(path: Path) -> Any:
    """A parquet file. DataError where it is none."""
    library, unreadable = parquet_library(path)
    try:
        return library.ParquetFile(path, pre_buffer=False)
    except unreadable as error:
        raise DataError(f"{path}: cannot be read as parquet: {error}") from error


def groups_of(paths: Sequence[Path], digest: str) -> NDArray[np.int64]:
    """(N, 3): of every group of rows its file, its number in it, and its rows. Looked up once for a digest of the files."""
    kept = cache_folder() / "shards" / f"{digest}.groups"
    if not kept.is_file():
        say(f"looking how many rows {len(paths)} parquet files have; this is kept in {kept}")
        found = [group for file, path in enumerate(paths) for group in _groups_in(file, path)]
        if not found:
            raise DataError(f"{paths[0]}: holds no row, and {len(paths) - 1} more files neither")
        write_bytes(kept, np.array(found, dtype="<i8").tobytes())
    content = kept.read_bytes()
    if not content or len(content) % GROUP:
        raise DataError(f"{kept}: is damaged", hint="delete it; it is made again")
    return np.frombuffer(content, dtype="<i8").reshape(-1, 3)


def _groups_in(file: int, path: Path) -> list[tuple[int, int, int]]:
    told = opened(path).metadata
    groups = [told.row_group(number) for number in range(told.num_row_groups)]
    for number, group in enumerate(groups):
        if group.total_byte_size > LARGEST:
            raise DataError(
                f"{path}: its group {number} of {group.num_rows} rows takes {group.total_byte_size >> 20} MiB; "
                f"expected at most {LARGEST >> 20}, for {KEPT} groups are in memory",
                hint="write it in smaller groups: Dataset.to_parquet(path, batch_size=100)",
            )
    return [(file, number, group.num_rows) for number, group in enumerate(groups) if group.num_rows]
