"""How fetched files get into the cache folder: whole or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from cdkit.parts import DataError, EnvironmentFault, cache_folder
from torch import Tensor

__all__ = [
    "cache_folder",
    "check_pinned",
    "digest_of",
    "intact",
    "last_line",
    "read_tensors",
    "say",
    "sha256",
    "write_bytes",
    "write_tensors",
]


def say(line: str) -> None:
    """One line of progress, on standard error."""
    print(line, file=sys.stderr, flush=True)


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_pinned(path: Path, digest: str) -> None:
    """EnvironmentFault if a package's file is not the one that was pinned."""
    found = sha256(path)
    if found != digest:
        raise EnvironmentFault(
            f"{path}: sha256 is {found[:12]}…, expected {digest[:12]}…: not the file that was pinned",
            hint="delete it and try again; if it stays so, the package was replaced and must not be used",
        )


def last_line(text: str, otherwise: str) -> str:
    """The last line of what a program said, cut; `otherwise` if it said nothing."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:200] if lines else otherwise


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """A safetensors file, whole or not at all; EnvironmentFault where it cannot be written."""
    from safetensors.torch import save

    write_bytes(path, save(dict(tensors)))


def write_bytes(path: Path, content: bytes) -> None:
    """A file, written beside its place and then moved there; EnvironmentFault where that cannot be done."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise EnvironmentFault(
            f"{path.parent}: cannot write here ({error.strerror})",
            hint="free some room, or set CDKIT_CACHE to a folder that can be written",
        ) from error


def read_tensors(path: Path, digest: str, name: str, by_hand: str) -> dict[str, Tensor]:
    """Tensors of a fetched file, whose content must have this digest; DataError that says how to get it, or get it again."""
    if not path.is_file():
        raise DataError(f"{name} is not here ({path}); run: cdkit data fetch {name}", hint=by_hand)
    tensors = intact(path, digest)
    if tensors is None:
        raise DataError(
            f"{path}: damaged, its content is not the one expected ({digest[:12]}…)",
            hint=f"fetch it again: cdkit data fetch {name}",
        )
    return tensors


def intact(path: Path, digest: str) -> dict[str, Tensor] | None:
    """Tensors of a file, if it is there and its content has this digest."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        tensors = load(path.read_bytes())
    except (SafetensorError, ValueError, OSError):
        return None
    return tensors if digest_of(tensors) == digest else None


def digest_of(tensors: Mapping[str, Tensor]) -> str:
    """sha256 of names, types, shapes and bytes: the same whatever version wrote the file."""
    found = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        found.update(tensor.contiguous().numpy().data)
    return found.hexdigest()
