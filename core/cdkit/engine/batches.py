"""Batches: which pictures a step sees, in which variation and under which caption; each a function of (seed, step) alone.

So workers, prefetching, resuming and the number of processes that share a batch cannot change them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset as Steps

from cdkit.diffusion.random import generator, keys, uniform
from cdkit.errors import DataError
from cdkit.parts import Dataset, Example


@dataclass(frozen=True, slots=True)
class Batch:
    """What one step learns from."""

    step: int
    ids: list[str]
    images: Tensor  # (B, C, H, W) in [-1, 1]
    raw: dict[str, list[Any]]  # by column


class Batches(Steps[Batch]):
    """Batch number `step`, for any step: positions in an endless row of shuffled epochs."""

    def __init__(self, dataset: Dataset, columns: Sequence[str], *, batch: int, seed: int, share: range | None = None) -> None:
        """share: which of each batch's pictures this process makes, where several share it; else all."""
        self.dataset = dataset
        self.examples = dataset.split("train")
        self.columns = tuple(columns)
        self.batch = batch
        self.share = range(batch) if share is None else share
        self.seed = seed
        self._order: tuple[int, list[int]] = (-1, [])
        if not len(self.examples):
            raise DataError("the training split holds no picture; expected at least one")
        self._check_columns()

    def __getitem__(self, step: int) -> Batch:
        chosen = [self._varied(self.examples[self._at(place)], step) for place in self._places(step)]
        raw = {column: self._told(column, chosen, step) for column in self.columns}
        return Batch(step, [example.id for example in chosen], torch.stack([example.image for example in chosen]), raw)

    def described(self, step: int, shown: int) -> str:
        """A batch and its first pictures, for a person."""
        positions = [self._at(place) for place in self._places(step)]
        more = f" and {len(positions) - shown} more" if len(positions) > shown else ""
        return f"batch {step} (pictures {', '.join(map(str, positions[:shown]))}{more} of the training split)"

    def _places(self, step: int) -> Iterator[int]:
        return (step * self.batch + place for place in self.share)

    def _at(self, place: int) -> int:
        epoch, position = divmod(place, len(self.examples))
        if self._order[0] != epoch:
            self._order = epoch, torch.randperm(len(self.examples), generator=generator(self.seed, "epoch", epoch)).tolist()
        return self._order[1][position]

    def _varied(self, example: Example, step: int) -> Example:
        return self.dataset.augment(example, generator(self.seed, example.id, step, "augment"))

    def _told(self, column: str, examples: Sequence[Example], step: int) -> list[Any]:
        """One of the values that are equally true of each picture."""
        draws = uniform(keys(self.seed, [example.id for example in examples], step, f"value:{column}"), (1,)).flatten().tolist()
        return [
            values[int(u * len(values))]
            for example, u in zip(examples, draws, strict=True)
            for values in [example.values[column]]
        ]

    def _check_columns(self) -> None:
        for column in self.columns:
            if column not in self.dataset.columns:
                known = ", ".join(self.dataset.columns)
                raise DataError(f"the data set has no column {column!r}, which a condition reads; it has {known}")
