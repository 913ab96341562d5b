"""prepared: what `cdkit data prepare` made of another data set: latents instead of pictures, streams instead of words."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any

from cdkit.hooks import Trial, hookimpl
from cdkit.parts import DataError, Dataset, Example, SampleShape, Stream
from torch import Tensor

from cdkit_data.cache import sha256
from cdkit_data.read_alone import ReadAlone
from cdkit_data.splits import Split

MANIFEST = "prepared.json"


class Prepared(Dataset):
    """Latents and encoded conditions, a shard at a time from the disk. A spec that trains on them keeps its autoencoder and its
    encoders, for drawing; training does not call them.

    path: the folder that `cdkit data prepare` left. verify: look at every shard's digest before training.
    """

    latent = True

    def __init__(self, *, path: str, verify: bool = True) -> None:
        self.path = Path(path).expanduser()
        try:
            self.manifest: dict[str, Any] = json.loads((self.path / MANIFEST).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise DataError(
                f"{self.path / MANIFEST}: cannot be read: {error}", hint="cdkit data prepare SPEC --out FOLDER"
            ) from error
        self.shape = SampleShape(*self.manifest["shape"])
        self.columns = tuple(dict.fromkeys(self.manifest["read"].values()))
        for name, told in self.manifest["files"].items() if verify else ():
            if not (self.path / name).is_file() or sha256(self.path / name) != told["sha256"]:
                raise DataError(f"{self.path / name}: is not the file that was prepared", hint="delete it, and prepare again")

    def split(self, name: Split) -> Rows:
        files = [file for file in sorted(self.manifest["files"]) if file.startswith(f"{name}-")]
        counts = [self.manifest["files"][file]["pictures"] for file in files]
        return Rows([self.path / file for file in files], counts, self.manifest["read"])

    @property
    def files(self) -> Sequence[int]:  # pyright: ignore[reportIncompatibleVariableOverride]  # it is read, and never set
        return self._counts

    @cached_property
    def _counts(self) -> tuple[int, ...]:
        return tuple(told["pictures"] for file, told in sorted(self.manifest["files"].items()) if file.startswith("train-"))

    def fingerprint(self) -> str:
        import hashlib

        return hashlib.sha256(json.dumps(self.manifest["files"], sort_keys=True).encode()).hexdigest()


class Rows(ReadAlone):
    """The rows of some shards, mapped into memory one shard after the other."""

    def __init__(self, paths: list[Path], counts: list[int], columns: Mapping[str, str]) -> None:
        self.paths, self.columns = paths, dict(columns)
        self.ends = list(accumulate(counts))
        self._shards: dict[int, Shard] = {}

    def __len__(self) -> int:
        return self.ends[-1] if self.ends else 0

    def read(self, place: int) -> Example:
        number = bisect_right(self.ends, place)
        if number not in self._shards:
            self._shards = dict(list(self._shards.items())[-15:])
            self._shards[number] = Shard(self.paths[number], self.columns)
        return self._shards[number].row(place - (self.ends[number - 1] if number else 0))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_shards": {}}


class Shard:
    """One file: latents (N, C, H, W), and for each condition its forms, the values of a picture one after the other."""

    def __init__(self, path: Path, columns: Mapping[str, str]) -> None:
        from safetensors import safe_open
        from safetensors.torch import load_file

        self.tensors = load_file(path)
        with safe_open(path, framework="pt") as file:
            self.ids: list[str] = json.loads(file.metadata()["ids"])
        self.columns = columns
        self.ends = {name: self.tensors[f"{name}.counts"].cumsum(0).tolist() for name in columns}

    def row(self, place: int) -> Example:
        values: dict[str, tuple[Any, ...]] = {}
        for name, column in self.columns.items():
            ends = self.ends[name]
            values[column] = tuple(self._stream(name, at) for at in range(ends[place - 1] if place else 0, ends[place]))
        return Example(self.ids[place], self.tensors["latents"][place], values)

    def _stream(self, name: str, at: int) -> Stream:
        """One value, B = 1."""
        forms: dict[str, Tensor | None] = {
            form: self.tensors[f"{name}.{form}"][at : at + 1] if f"{name}.{form}" in self.tensors else None
            for form in ("tokens", "mask", "pooled", "spatial")
        }
        return Stream(**forms)


@hookimpl
def cdkit_dataset() -> type[Prepared]:
    return Prepared


@hookimpl
def cdkit_trial() -> Trial:
    return Trial(untried="it reads what `cdkit data prepare` left; its tests make some")
