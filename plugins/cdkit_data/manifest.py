"""What a folder of pictures says about them: metadata.jsonl, metadata.csv or metadata.parquet, line by line."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from cdkit.parts import DataError

from cdkit_data.parquet import parquet_library

LARGEST = 512 << 20  # bytes


@dataclass(frozen=True, slots=True)
class Line:
    """One entry: its fields, and where it stands."""

    file: Path
    number: int  # from 1; in a parquet file the row
    fields: Mapping[str, Any]

    def __str__(self) -> str:
        return f"{self.file}:{self.number}"


def find_manifest(folder: Path) -> Path | None:
    """The one manifest in a folder; DataError where there are several."""
    found = [folder / f"metadata{ending}" for ending in READERS if (folder / f"metadata{ending}").is_file()]
    if len(found) > 1:
        raise DataError(f"{folder}: {' and '.join(path.name for path in found)}; expected one of them", hint="remove the others")
    return found[0] if found else None


def read_manifest(path: Path) -> list[Line]:
    """Every entry. DataError with file, line and column where it cannot be read."""
    size = path.stat().st_size
    if size > LARGEST:
        raise DataError(f"{path}: {size:,} bytes; at most {LARGEST:,} are read")
    return list(READERS[path.suffix](path))


def _text(path: Path) -> str:
    content = path.read_bytes()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        byte = error.start - content.rfind(b"\n", 0, error.start)
        raise DataError(
            f"{path}:{line}:{byte}: not UTF-8 (byte {content[error.start]:#04x})", hint="save the file as UTF-8"
        ) from error


def _jsonl(path: Path) -> Iterator[Line]:
    for number, text in enumerate(_text(path).split("\n"), start=1):
        if not text.strip():
            continue
        try:
            fields = json.loads(text)
        except json.JSONDecodeError as error:
            raise DataError(f"{path}:{number}:{error.colno}: not JSON ({error.msg})", hint="one JSON object a line") from error
        except (RecursionError, ValueError) as error:
            raise DataError(f"{path}:{number}: not JSON that can be read ({error})", hint="one JSON object a line") from error
        if not isinstance(fields, dict):
            raise DataError(f"{path}:{number}: expected a JSON object, found {type(fields).__name__}")
        yield Line(path, number, fields)


def _csv(path: Path) -> Iterator[Line]:
    reader = csv.reader(io.StringIO(_text(path), newline=""), strict=True)
    number = 1
    try:
        header = next(reader, [])
        number = reader.line_num + 1
        for row in reader:
            if row and len(row) != len(header):
                raise DataError(
                    f"{path}:{number}: {len(row)} values for {len(header)} columns ({', '.join(header)})",
                    hint="put text that holds a comma or a quote into double quotes, and double the quotes in it",
                )
            if row:
                yield Line(path, number, dict(zip(header, row, strict=True)))
            number = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"{path}:{number}: {error}", hint="a quoted text ends in a quote; quotes inside are doubled") from error


def _parquet(path: Path) -> Iterator[Line]:
    library, unreadable = parquet_library(path)
    try:
        rows = library.read_table(path).to_pylist()
    except unreadable as error:
        raise DataError(f"{path}: not a parquet file that can be read ({error})"[:300]) from error
    for number, fields in enumerate(rows, start=1):
        yield Line(path, number, fields)


READERS: dict[str, Callable[[Path], Iterator[Line]]] = {".jsonl": _jsonl, ".csv": _csv, ".parquet": _parquet}


def field_of(line: Line, name: str) -> Any:
    """A field that must be there; DataError names the line, what is there and what may have been meant."""
    if name in line.fields:
        return line.fields[name]
    there = [str(key) for key in line.fields]
    near = get_close_matches(name, there, n=1)
    raise DataError(
        f"{line}: no column {name!r}; found: {', '.join(there) or 'none'}" + (f"; did you mean {near[0]!r}?" if near else ""),
        hint=f"name the column {name!r}, or say which it is with `column:`" if name != "file_name" else "`file_name` is required",
    )


def texts_of(line: Line, name: str) -> tuple[str, ...]:
    """A field's text, or a list of texts; an empty text is kept and says nothing. DataError where there is none."""
    value = field_of(line, name)
    texts = tuple(value) if isinstance(value, list) else (value,)
    for text in texts:
        if not isinstance(text, str):
            raise DataError(
                f"{line}: {name!r} is {'missing (null)' if text is None else type(text).__name__}; expected text",
                hint='write "" for a picture of which nothing is said',
            )
        if any(letter == "\0" or "\ud800" <= letter <= "\udfff" for letter in text):
            raise DataError(f"{line}: {name!r} holds NUL or half a surrogate pair, which no text does", hint="remove it")
    if not texts:
        raise DataError(f"{line}: {name!r} is an empty list; expected text", hint='write "" if nothing is said')
    return tuple(text if text.strip() else "" for text in texts)
