"""Kept: tensors that were made once, in files of their own in the cache folder; each is read only as what it was written as."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from torch import Tensor, contiguous_format, uint8

from cdkit.fast.recent import Recent

RECENT = 1024  # that are remembered without their file
Made: TypeAlias = dict[str, Tensor]
Say = Callable[[str], None]


class Kept:
    """What one maker made, by name. Processes may share a folder: a file comes to its place whole, and is the same from all.

    maker: everything that decides what is made; another maker has another folder. say: is told of files that are broken, and of a
    folder that cannot be written, which ends nothing.
    """

    def __init__(self, folder: Path, maker: Mapping[str, Any], say: Say) -> None:
        told = json.dumps(maker, indent=1, sort_keys=True)
        self.maker = hashlib.sha256(told.encode()).hexdigest()
        self.folder, self._say = folder / self.maker[:32], say
        self._recent: Recent[Made] = Recent(RECENT)
        self._writes = True
        self._write(self.folder / "maker.json", told.encode())

    def get(self, name: str, make: Callable[[], Made]) -> Made:
        """The tensors of this name, on the CPU. name: in hex, of all that the maker is told."""
        return self._recent.get(name, lambda: self._read(name) or self._made(name, make))

    def _made(self, name: str, make: Callable[[], Made]) -> Made:
        from safetensors.torch import save

        made = {key: value.detach().cpu().clone(memory_format=contiguous_format) for key, value in make().items()}
        self._write(self._path(name), save(made, {"maker": self.maker, "name": name, "sha256": digest_of(made)}))
        return made

    def _path(self, name: str) -> Path:
        return self.folder / name[:2] / f"{name}.safetensors"

    def _read(self, name: str) -> Made | None:
        """None where it has to be made: there is no file, or one that is not what it should be."""
        from safetensors import SafetensorError, safe_open

        path = self._path(name)
        try:
            with safe_open(path, framework="pt") as file:
                made = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  # it is no mapping
                found = file.metadata() or {}
        except FileNotFoundError:
            return None
        except (OSError, SafetensorError) as error:
            return self._broken(path, str(error))
        if found != {"maker": self.maker, "name": name, "sha256": digest_of(made)}:
            return self._broken(path, "its content is not what was written")
        return made

    def _broken(self, path: Path, why: str) -> None:
        self._say(f"note: {path}: cannot be used ({why}); it is made again")

    def _write(self, path: Path, content: bytes) -> None:
        """Whole or not at all. Not synced: what a power cut leaves of it is found broken, and made again."""
        if not self._writes or (path.name == "maker.json" and path.is_file()):
            return
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(content)
            temporary.replace(path)
        except OSError as error:
            self._writes = False
            self._say(f"note: {self.folder}: nothing more is kept here: {error.strerror}")


def digest_of(tensors: Mapping[str, Tensor]) -> str:
    """sha256 of names, types, shapes and bytes."""
    found = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        found.update(tensor.detach().cpu().contiguous().flatten().view(uint8).numpy().data)
    return found.hexdigest()
