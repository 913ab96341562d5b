"""Weights in a cache: safetensors and JSON, written whole or not at all, checked when read. Never pickle."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor

T = TypeVar("T")


def keep(folder: Path, name: str, weights: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write name.safetensors, then name.json with its sha256: without the second the first counts for nothing."""
    from safetensors.torch import save

    folder.mkdir(parents=True, exist_ok=True)
    blob = save({key: value.detach().cpu().contiguous() for key, value in weights.items()})
    _write(folder / f"{name}.safetensors", blob)
    record = {**facts, "sha256": hashlib.sha256(blob).hexdigest()}
    _write(folder / f"{name}.json", json.dumps(record, ensure_ascii=False, indent=1).encode())


def kept(folder: Path, name: str) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """The weights and what is known of them; None where they are not there, or damaged."""
    from safetensors.torch import load

    try:
        facts: dict[str, Any] = json.loads((folder / f"{name}.json").read_bytes())
        blob = (folder / f"{name}.safetensors").read_bytes()
        if hashlib.sha256(blob).hexdigest() != facts["sha256"]:
            return None
        return load(blob), facts
    except (OSError, ValueError, KeyError, TypeError):
        return None


def once(folder: Path, name: str, read: Callable[[], T | None], make: Callable[[], T]) -> T:
    """What is kept, or what is made now; made by one process, or two would judge by different evaluators: on a GPU no two
    lessons end alike."""
    if (known := read()) is not None:
        return known
    with alone(folder, name):
        known = read()
        return make() if known is None else known


@contextmanager
def alone(folder: Path, name: str) -> Generator[None]:
    """One process at a time: who waited finds what the first has kept. Without a lock where the folder cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / f".{name}.lock").open("a")
    except OSError:
        yield
        return
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _write(path: Path, blob: bytes) -> None:
    """Beside its place first, then renamed over it, so that a reader finds the old file or the new one."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(blob)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
