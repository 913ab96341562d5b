"""Where the samples of a tar file lie. Read from its headers alone, so that a sample is found without reading those before it.

A sample is a row of members of one name up to the first dot, as the webdataset library has it: 000123.png, 000123.txt.
"""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from cdkit.parts import DataError
from numpy.typing import NDArray

BLOCK = 512
AT_ONCE = 1 << 22  # bytes of a tar file, looked at together


class Member(NamedTuple):
    """A file in a tar: its name, where its header begins, and how long it is."""

    name: str
    offset: int
    size: int

    @property
    def end(self) -> int:
        """Where the next header begins."""
        return self.offset + BLOCK + -(-self.size // BLOCK) * BLOCK


def key_of(name: str) -> str:
    """`photos/000123.seg.png` -> `photos/000123`."""
    folder, slash, file = name.rpartition("/")
    return f"{folder}{slash}{file.partition('.')[0]}"


def ending_of(name: str) -> str:
    """`photos/000123.seg.png` -> `seg.png`."""
    return name.rpartition("/")[2].partition(".")[2].lower()


def samples_of(path: Path) -> NDArray[np.int64]:
    """(N, 2): where each sample begins, and how many bytes it takes. DataError for what is no tar file."""
    found: list[tuple[int, int]] = []
    begin, key, end = 0, None, 0
    for member in members_of(path):
        if key_of(member.name) != key:
            if key is not None:
                found.append((begin, end - begin))
            begin, key = member.offset, key_of(member.name)
        end = member.end
    if key is not None:
        found.append((begin, end - begin))
    return np.array(found, dtype=np.int64).reshape(-1, 2)


def members_of(path: Path) -> Iterator[Member]:
    """Every file of a tar, in order."""
    try:
        yield from _plain(path)
    except Unusual:
        yield from _any(path)


class Unusual(Exception):
    """A header that only Python's own tarfile understands: long names, sizes beyond 8 GiB, sparse files."""


def _plain(path: Path) -> Iterator[Member]:
    size = path.stat().st_size
    found: list[Member] = []
    with path.open("rb") as file:
        descriptor, place = file.fileno(), 0
        start, window = 0, b""
        while place + BLOCK <= size:
            if not start <= place <= start + len(window) - BLOCK:
                start, window = place, os.pread(descriptor, AT_ONCE, place)
            header = window[place - start : place - start + BLOCK]
            member = _member(header, place, path)
            if member is None:
                break
            found.append(member)
            place = member.end
    if found and (found[-1].offset + BLOCK + found[-1].size > size or size % BLOCK):
        raise DataError(f"{path}: is cut off; the last member that begins is {found[-1].name}", hint="copy it again")
    yield from (member for member in found if member.size or not member.name.endswith("/"))


def _member(header: bytes, place: int, path: Path) -> Member | None:
    """None at the end of the archive."""
    if not header.strip(b"\0"):
        return None
    if header[257:262] != b"ustar" or header[124] & 0x80 or header[156:157] not in (b"0", b"\0", b"5"):
        raise Unusual
    try:
        size = int(header[124:136].strip(b" \0") or b"0", 8)
        prefix, name = header[345:500].rstrip(b"\0").decode(), header[:100].rstrip(b"\0").decode()
    except ValueError as error:
        raise DataError(f"{path}: at byte {place} there is no header of a tar file") from error
    return Member(f"{prefix}/{name}" if prefix and header[257:263] == b"ustar\0" else name, place, size)


def _any(path: Path) -> Iterator[Member]:
    try:
        with tarfile.open(path, "r:") as archive:
            end = 0
            for member in archive:
                if member.isfile():
                    # From the end of the member before, so that a long name's own header is within.
                    yield Member(member.name, end, member.offset_data + member.size - end - BLOCK)
                end = member.offset_data + -(-member.size // BLOCK) * BLOCK
    except (tarfile.TarError, OSError) as error:
        raise DataError(f"{path}: is no tar file that can be read: {error}", hint="shards are plain tar files") from error


def files_in(content: bytes, where: str) -> tuple[str, dict[str, bytes]]:
    """One sample: its key, and its members by their ending. DataError where these bytes are no part of a tar file."""
    try:
        files = _cut(content, where)
    except Unusual:
        files = _taken(content, where)
    if not files:
        raise DataError(f"{where}: is empty")
    return key_of(next(iter(files))), {ending_of(name): content for name, content in files.items()}


def _cut(content: bytes, where: str) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    place = 0
    while place + BLOCK <= len(content) and (member := _member(content[place : place + BLOCK], place, Path(where))):
        files[member.name] = content[place + BLOCK : place + BLOCK + member.size]
        place = member.end
    return files


def _taken(content: bytes, where: str) -> dict[str, bytes]:
    try:
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as archive:
            found = {member.name: archive.extractfile(member) for member in archive if member.isfile()}
            return {name: file.read() for name, file in found.items() if file is not None}
    except (tarfile.TarError, OSError) as error:
        raise DataError(f"{where}: is no part of a tar file: {error}", hint="the file has changed; delete its index") from error
