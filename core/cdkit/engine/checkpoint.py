"""Checkpoints: written whole or not at all, verified before a single tensor is used, no pickle anywhere.

The protocol: a temporary folder; each file written, then fsynced; manifest.json, which holds the size and sha256 of all the
others and of itself, last; one rename; fsync of the parent. The latest checkpoint is that of the highest step, and it has to
verify.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from cdkit.conditions import Ledger
from cdkit.errors import CheckpointError

SCHEMA = 2  # 1 had no digest of the manifest itself
SHARDED = 3  # one file a process, which cdkit.engine.shards writes
MANIFEST = "manifest.json"
STATE = "state.json"
TEMPORARY = ".tmp-"
TRASH = ".trash-"
OLD = ".old-"

Tensors = Mapping[str, Mapping[str, Tensor]]  # by file (backbone, ema …), then by key


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A committed checkpoint whose files are what its manifest says."""

    folder: Path
    manifest: Mapping[str, Any]

    @property
    def step(self) -> int:
        return int(self.manifest["step"])

    def state(self) -> dict[str, Any]:
        """Everything that is no tensor: counters, the ledger. CheckpointError for what no save wrote."""
        try:
            found = json.loads((self.folder / STATE).read_text(encoding="utf-8"))
            Ledger.from_json(found["ledger"])
        except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
            raise CheckpointError(f"{self.folder / STATE}: is no state of a checkpoint: {error}") from error
        return found

    def tensors(self, name: str) -> dict[str, Tensor]:
        """The tensors of one file, on the CPU. CheckpointError if the checkpoint has no such file."""
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        file = f"{name}.safetensors"
        if name not in self.names:
            has = ", ".join(self.names if self.is_sharded else self.manifest["files"])
            raise CheckpointError(f"{self.folder}: has no {file}; it has {has}")
        try:
            return joined(self.shards, name) if self.is_sharded else load_file(self.folder / file)
        except (SafetensorError, ValueError, LookupError) as error:
            where = self.folder if self.is_sharded else self.folder / file
            raise CheckpointError(f"{where}: is no safetensors file: {error}") from error

    @property
    def names(self) -> tuple[str, ...]:
        """The files of tensors that it has; in shards, what they would be called."""
        if self.is_sharded:
            return tuple(self.manifest["tensors"])
        return tuple(file.removesuffix(".safetensors") for file in self.manifest["files"] if file.endswith(".safetensors"))

    @property
    def is_sharded(self) -> bool:
        """Is it in one file a process that wrote it?"""
        return self.manifest.get("schema") == SHARDED

    @property
    def shards(self) -> list[Path]:
        """Those files."""
        return [self.folder / file for file in sorted(self.manifest["files"]) if file.endswith(".safetensors")]


def joined(shards: Sequence[Path], name: str) -> dict[str, Tensor]:
    """Of all tensors `NAME|KEY` in the shards the whole, by key, on the CPU."""
    from safetensors import safe_open

    found: dict[str, list[tuple[list[int], Tensor]]] = {}
    for path in shards:
        with safe_open(path, framework="pt") as file:
            begins: dict[str, Any] = json.loads((file.metadata() or {}).get("DCP_SHARDING_INFO", "{}"))
            for key in file.keys():  # noqa: SIM118  # it is no mapping
                if key.startswith(f"{name}|"):
                    part: Tensor = file.get_tensor(key)
                    offsets = begins.get(key, {}).get("saved_offsets", [0] * part.dim())
                    found.setdefault(key.partition("|")[2], []).append((offsets, part))
    return {key: assembled(parts) for key, parts in found.items()}


def assembled(parts: Sequence[tuple[Sequence[int], Tensor]]) -> Tensor:
    """Parts, each with where it begins in the whole -> the whole. ValueError where they leave a gap."""
    shape = [max(begins[d] + part.shape[d] for begins, part in parts) for d in range(parts[0][1].dim())]
    whole = parts[0][1].new_empty(shape)
    if sum(part.numel() for _, part in parts) != whole.numel():
        raise ValueError(f"{len(parts)} parts do not make a tensor of shape {shape}")
    for begins, part in parts:
        whole[tuple(slice(begin, begin + side) for begin, side in zip(begins, part.shape, strict=True))] = part
    return whole


def folder_of(step: int) -> str:
    return f"step-{step:06d}"


def write_checkpoint(folder: Path, step: int, tensors: Tensors, state: Mapping[str, Any], facts: Mapping[str, Any]) -> Path:
    """Commit one checkpoint as folder/step-NNNNNN. A step that is there already is replaced; the old one is never lost first.

    facts: what the manifest tells besides (spec digest, versions). Raises OSError, with nothing changed, if it cannot.
    """
    temporary = begin(folder, step)
    try:
        files = {path.name: described(path) for path in _written(temporary, tensors, state)}
        target = commit(folder, temporary, {"schema": SCHEMA, "step": step, **facts, "files": files})
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    tidy(folder)
    return target


def begin(folder: Path, step: int) -> Path:
    """A new temporary folder, in which a checkpoint is gathered."""
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f"{TEMPORARY}{step}-{uuid.uuid4().hex}"
    temporary.mkdir(mode=0o700)
    return temporary


def commit(folder: Path, temporary: Path, manifest: Mapping[str, Any]) -> Path:
    """Write the manifest, and put what was gathered into its place."""
    synced(temporary / MANIFEST, signed(manifest))
    fsync_folder(temporary)
    target = folder / folder_of(manifest["step"])
    if target.exists():
        # Not to the trash: killed before the next line, clearing puts it back.
        os.replace(target, folder / f"{OLD}{target.name}")
    os.replace(temporary, target)
    fsync_folder(folder)
    return target


def tidy(folder: Path) -> None:
    """Let go of what a new checkpoint replaced."""
    restore_old(folder)
    empty_trash(folder)


def _written(folder: Path, tensors: Tensors, state: Mapping[str, Any]) -> Iterator[Path]:
    from safetensors.torch import save

    for name, values in tensors.items():
        synced(folder / f"{name}.safetensors", save({key: value.contiguous() for key, value in values.items()}))
        yield folder / f"{name}.safetensors"
    synced(folder / STATE, in_json(state))
    yield folder / STATE


def in_json(value: Mapping[str, Any]) -> bytes:
    """As it is written."""
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False).encode()


def signed(manifest: Mapping[str, Any]) -> bytes:
    """A manifest as it is written: with the sha256 of all that it says besides."""
    told = {key: value for key, value in manifest.items() if key != "sha256"}
    return in_json({**told, "sha256": hashlib.sha256(in_json(told)).hexdigest()})


def synced(path: Path, content: bytes) -> None:
    """Write a new file and wait until it is on the disk."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def fsync_folder(folder: Path) -> None:
    """Make the folder's own entries durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def described(path: Path) -> dict[str, Any]:
    """What a manifest says of a file."""
    return {"size": path.stat().st_size, "sha256": sha256(path)}


def sha256(path: Path) -> str:
    """The digest of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def verified(folder: Path) -> Checkpoint:
    """The checkpoint in a folder, every file checked against the manifest. CheckpointError names what is wrong."""
    try:
        content = (folder / MANIFEST).read_bytes()
        manifest = json.loads(content.decode())
    except FileNotFoundError as error:
        raise CheckpointError(f"{folder / MANIFEST}: missing; a checkpoint without it was never finished") from error
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{folder / MANIFEST}: cannot be read: {error}") from error
    _check_schema(folder, manifest)
    _check_itself(folder, manifest, content)
    for name, described in manifest["files"].items():
        _check_file(folder, name, described)
    return Checkpoint(folder, manifest)


def _check_schema(folder: Path, manifest: Any) -> None:
    files = manifest.get("files") if isinstance(manifest, dict) else None
    well_formed = isinstance(files, dict) and all(isinstance(described, dict) for described in files.values())
    if not well_formed or not isinstance(manifest.get("step"), int):
        raise CheckpointError(f"{folder / MANIFEST}: is no manifest of a checkpoint")
    if manifest.get("schema") not in range(1, SHARDED + 1):
        raise CheckpointError(
            f"{folder / MANIFEST}: written with schema {manifest.get('schema')}; this cdkit reads schemas 1 to {SHARDED}",
            hint="update cdkit",
        )


def _check_itself(folder: Path, manifest: Mapping[str, Any], content: bytes) -> None:
    """Every byte of it, as it would be written: no other text says the same."""
    if manifest["schema"] == 1:
        return
    try:
        sound = content == signed(manifest)
    except (ValueError, RecursionError):  # half a surrogate pair, or deeper than can be written
        sound = False
    if not sound:
        raise CheckpointError(f"{folder / MANIFEST}: its sha256 is not its own; the file is damaged")


def _check_file(folder: Path, name: str, described: Mapping[str, Any]) -> None:
    path = folder / name
    if Path(name).name != name or path.is_symlink():
        raise CheckpointError(f"{folder / MANIFEST}: names {name!r}, which is not a plain file beside it")
    if not path.is_file():
        raise CheckpointError(f"{path}: missing, though the manifest lists it")
    if path.stat().st_size != described.get("size"):
        raise CheckpointError(f"{path}: is {path.stat().st_size} bytes; the manifest says {described.get('size')}")
    if sha256(path) != described.get("sha256"):
        raise CheckpointError(f"{path}: its sha256 is not the manifest's; the file is damaged")


def committed(folder: Path) -> list[Path]:
    """The folders of committed checkpoints, oldest step first, verified or not."""
    return sorted((path for path in folder.glob("step-*") if path.is_dir() and path.name[5:].isdigit()), key=step_of)


def step_of(folder: Path) -> int:
    """The step that a checkpoint's folder is named after."""
    return int(folder.name.removeprefix("step-"))


def latest(folder: Path, *, fallback: bool = False, say: Callable[[str], None] | None = None) -> Checkpoint | None:
    """The checkpoint of the highest step; None if there is none. CheckpointError if it is damaged.

    fallback: rather take the newest that is whole. say: is told of every newer one, and what is wrong with it.
    """
    failures: list[CheckpointError] = []
    for path in reversed(committed(folder)):
        try:
            found = verified(path)
        except CheckpointError as error:
            failures.append(error)
            continue
        if failures and not fallback:
            hint = f"{found.folder.name} is whole; train, sample and evaluate take it with --fallback"
            raise CheckpointError(str(failures[0]), hint=hint) from failures[0]
        for failure in failures if say else ():
            say(f"damaged: {failure}; the older {found.folder.name} is used instead")  # pyright: ignore[reportOptionalCall]
        return found
    if failures:
        raise failures[0]
    return None


def set_aside_damaged(folder: Path) -> list[Path]:
    """Rename checkpoints that do not verify, so that they neither count as kept nor stand in a new one's way."""
    aside: list[Path] = []
    for path in committed(folder):
        try:
            verified(path)
        except CheckpointError:
            aside.append(path.rename(path.with_name(f"damaged-{path.name}-{uuid.uuid4().hex[:8]}")))
    return aside


def prune(folder: Path, keep: int) -> None:
    """Delete all but the newest `keep` checkpoints: by rename first, so that none is ever half deleted."""
    for path in committed(folder)[:-keep]:
        os.replace(path, folder / f"{TRASH}{path.name}-{uuid.uuid4().hex}")
    empty_trash(folder)


def empty_trash(folder: Path) -> None:
    for path in folder.glob(f"{TRASH}*"):
        shutil.rmtree(path, ignore_errors=True)


def restore_old(folder: Path) -> None:
    """A checkpoint that was being replaced: back in its place if its successor never came, else away."""
    for path in folder.glob(f"{OLD}*"):
        place = folder / path.name.removeprefix(OLD)
        os.replace(path, folder / f"{TRASH}{path.name}-{uuid.uuid4().hex}" if place.exists() else place)


def clear_unfinished(folder: Path) -> list[Path]:
    """Remove what a killed save left behind, and say what it was."""
    restore_old(folder)
    left = sorted(folder.glob(f"{TEMPORARY}*"))
    for path in left:
        shutil.rmtree(path, ignore_errors=True)
    empty_trash(folder)
    return left
