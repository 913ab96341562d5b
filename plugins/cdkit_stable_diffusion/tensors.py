"""Reading and writing tensors: safetensors, whole or in shards, and nothing that is pickled."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cdkit.parts import CheckpointError, EnvironmentFault
from torch import Tensor

SHARD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*\.safetensors")
LARGEST = 64 << 20  # bytes of an index or a configuration


def load(path: Path) -> dict[str, Tensor]:
    """The tensors of one file. CheckpointError if it is no safetensors file."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path}: cannot be read as safetensors: {error}") from error


def shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes of one file's tensors, without reading them. CheckpointError if it is no safetensors file."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path}: cannot be read as safetensors: {error}") from error


def load_model(folder: Path, stem: str) -> tuple[dict[str, Tensor], str]:
    """The tensors of `stem` in a folder of diffusers or transformers, whole, sharded or as a variant, and which file it was."""
    for name in (stem, f"{stem}.fp16"):
        if (folder / f"{name}.safetensors").is_file():
            return load(folder / f"{name}.safetensors"), f"{name}.safetensors"
    for index in (folder / f"{stem}.safetensors.index.json", folder / f"{stem}.safetensors.index.fp16.json"):
        if index.is_file():
            return _sharded(index), index.name
    pickled = " (pickled weights are there, and are never read)" if list(folder.glob("*.bin")) else ""
    raise CheckpointError(f"{folder}: has no {stem}.safetensors{pickled}", hint="download the safetensors of this model")


def _sharded(index: Path) -> dict[str, Tensor]:
    told = read_json(index)
    places: Any = told.get("weight_map")
    if not isinstance(places, dict) or not all(isinstance(name, str) and SHARD.fullmatch(name) for name in places.values()):
        raise CheckpointError(f"{index}: is no index of shards that lie beside it")
    found: dict[str, Tensor] = {}
    for name in sorted(set(places.values())):
        found |= load(index.with_name(name))
    missing = sorted(set(places) - set(found))
    if missing:
        raise CheckpointError(f"{index}: names {len(missing)} tensors that its shards do not hold, such as {missing[0]}")
    return found


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object. CheckpointError if there is none."""
    try:
        if path.stat().st_size > LARGEST:
            raise CheckpointError(f"{path}: is {path.stat().st_size} bytes; expected a small JSON file")
        value = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: cannot be read as JSON: {error}") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path}: expected a JSON object")
    return value


def write_files(folder: Path, files: Mapping[str, bytes | Mapping[str, Tensor]]) -> None:
    """Every file of a folder, tensors as safetensors. EnvironmentFault if it cannot be written."""
    from safetensors.torch import save_file

    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            if isinstance(content, bytes):
                (folder / name).write_bytes(content)
            else:
                save_file({key: value.contiguous() for key, value in content.items()}, folder / name, metadata={"format": "pt"})
    except OSError as error:
        raise EnvironmentFault(f"{folder}: cannot be written: {error.strerror}") from error


def as_json(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(value, indent=2, sort_keys=True) + "\n").encode()
