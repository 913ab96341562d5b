"""Sets of grey pictures with one class each: digits, animals, fashion differ in where the bytes come from."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import torch
from cdkit.parts import Dataset, Example, SampleShape
from torch import Tensor

from cdkit_data.captions import COLUMNS, Words, by_language
from cdkit_data.splits import Split, content_id, split_of
from cdkit_data.table import Table


@dataclass(frozen=True, slots=True)
class Labelled:
    """Pictures (N, C, H, W) uint8 with values 0..top and the index of each one's class; `test` marks an official test split."""

    images: Tensor
    labels: Sequence[int]
    top: int = 255
    test: Sequence[bool] | None = None


class ClassPictures(Dataset):
    """Pictures whose captions follow from their class. Exact duplicates are dropped, then a hash of the content splits."""

    columns = COLUMNS
    words: ClassVar[Mapping[str, Words]]  # by class, in the order of the labels

    @abstractmethod
    def read(self) -> Labelled:
        """Every picture as it was published. DataError if it is not there."""

    def enlarge(self, table: Table) -> Table:
        """The pictures at the size that was asked for; ids stay those of the published pictures."""
        return table

    def split(self, name: Split) -> Table:
        return self._splits[name]

    def fingerprint(self) -> str:
        said = hashlib.sha256(repr((type(self).__name__, self.shape, self.words)).encode())
        for name, table in self._splits.items():
            said.update(f"{name}:{','.join(table.ids)};{[row['label'] for row in table.values]}".encode())
        return said.hexdigest()

    def prompts(self, language: str) -> Mapping[str, tuple[str, ...]]:
        return by_language(self.words, language)

    @cached_property
    def _splits(self) -> dict[Split, Table]:
        read = self.read()
        ids = [content_id(picture.numpy().tobytes(), *picture.shape) for picture in read.images]
        rows = _assign(ids, read.test)
        values = [words.values(name) for name, words in self.words.items()]
        whole = Table(read.images, tuple(ids), tuple(values[label] for label in read.labels), read.top)
        return {name: self.enlarge(whole.chosen(chosen)) for name, chosen in rows.items()}


def _assign(ids: Sequence[str], test: Sequence[bool] | None) -> dict[Split, list[int]]:
    """Rows by split, each content once; an official test split stays whole and what it holds leaves the others."""
    rows: dict[Split, list[int]] = {"train": [], "validation": [], "test": []}
    held = {id for id, out in zip(ids, test, strict=True) if out} if test is not None else set[str]()
    seen: set[str] = set()
    for row, id in enumerate(ids):
        if id in seen:
            continue
        seen.add(id)
        rows[_split(id, id in held, official=test is not None)].append(row)
    return rows


def _split(id: str, held: bool, *, official: bool) -> Split:
    """test where an official split says so; elsewhere by hash, and then nothing more goes to an official test split."""
    if held:
        return "test"
    chosen = split_of(id)
    return "train" if official and chosen == "test" else chosen


def flipped(example: Example, generator: torch.Generator) -> Example:
    """The example, mirrored left to right every other time."""
    if torch.rand((), generator=generator) < 0.5:
        return example
    return Example(id=example.id, image=example.image.flip(-1), values=example.values)


def grey(size: int) -> SampleShape:
    """One channel, square."""
    return SampleShape(1, size, size)
