"""The entries of a folder of pictures: which file, what is said of it, which split it asks for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cdkit.parts import DataError

from cdkit_data.manifest import Line, field_of, find_manifest, read_manifest, texts_of
from cdkit_data.splits import SPLITS, Split

SPLIT_NAMES: dict[str, Split] = {
    "train": "train", "training": "train", "validation": "validation", "valid": "validation", "val": "validation",
    "dev": "validation", "test": "test", "testing": "test",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a manifest: the picture `name` under `root`, what is said by column, and a split if one was named."""

    line: Line
    root: Path
    name: str
    values: Mapping[str, tuple[Any, ...]]
    split: Split | None


def read_entries(root: Path, column: str, also: Sequence[str]) -> list[Entry]:
    """Every entry of root/metadata.*, or of train/, validation/ and test/ with one each. DataError if there is none."""
    if not root.is_dir():
        raise DataError(f"{root}: {'not a folder' if root.exists() else 'there is no such folder'}", hint="`path:` names it")
    manifest = find_manifest(root)
    found = [(root, manifest, None)] if manifest else _by_folder(root)
    entries = [_entry(line, folder, split, column, also) for folder, path, split in found for line in read_manifest(path)]
    if not found:
        raise DataError(
            f"{root}: no metadata.jsonl, metadata.csv or metadata.parquet in it",
            hint='make one: a line a picture, e.g. {"file_name": "0001.png", "text": "a cat"}',
        )
    if not entries:
        raise DataError(f"{found[0][1]}: empty; expected a line for each picture")
    return entries


def _by_folder(root: Path) -> list[tuple[Path, Path, Split | None]]:
    found: list[tuple[Path, Path, Split | None]] = []
    for name in SPLITS:
        manifest = find_manifest(root / name)
        if manifest is not None:
            found.append((root / name, manifest, name))
    return found


def _entry(line: Line, root: Path, split: Split | None, column: str, also: Sequence[str]) -> Entry:
    name = field_of(line, "file_name")
    if not isinstance(name, str) or not name:
        raise DataError(f"{line}: `file_name` is {name!r}; expected the name of a picture")
    said = texts_of(line, column)
    values: dict[str, tuple[Any, ...]] = {"text": said, **{other: texts_of(line, other) for other in also}}
    return Entry(line, root, name, values, split or _named_split(line))


def _named_split(line: Line) -> Split | None:
    named = line.fields.get("split")
    if named in (None, ""):
        return None
    if str(named) not in SPLIT_NAMES:
        raise DataError(f"{line}: split {named!r}; expected train, validation or test")
    return SPLIT_NAMES[str(named)]
