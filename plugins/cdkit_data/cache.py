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

__all__ = ["cache_folder", "digest_of", "intact", "read_tensors", "say", "sha256", "write_tensors"]


def say(line: str) -> None:
    """One line of progress, on standard error."""
    print(line, file=sys.stderr, flush=True)


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """A safetensors file, written beside its place and then moved there; EnvironmentFault where that cannot be done."""
    from safetensors.torch import save

    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(save(dict(tensors)))
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
