"""Batches: which pictures a step sees, in which variation and under which caption; each a function of (seed, step) alone.

So workers, prefetching, resuming and the number of processes that share a batch cannot change them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset as Steps

from cdkit.diffusion.random import generator, keys, uniform
from cdkit.engine.order import order_of
from cdkit.errors import DataError
from cdkit.parts import Dataset, Example

NEXT = 100  # pictures that may be bad in a row


@dataclass(frozen=True, slots=True)
class Batch:
    """What one step learns from."""

    step: int
    ids: list[str]
    images: Tensor  # (B, C, H, W) in [-1, 1]
    raw: dict[str, list[Any]]  # by column
    latent: bool = False  # are the images latents already?
    passed: dict[str, str] = field(default_factory=dict[str, str])  # pictures that could not be read, and why
    varied: tuple[bool, ...] = ()  # is a picture another than its data set holds?


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
        if not len(self.examples):
            raise DataError("the training split holds no picture; expected at least one")
        self._order = order_of(dataset, len(self.examples), batch, seed)
        self._check_columns()

    def __getitem__(self, step: int) -> Batch:
        passed: dict[str, str] = {}
        found = [self._read(self._order[place], passed) for place in self._places(step)]
        chosen = [self._varied(example, step) for example in found]
        raw = {column: self._told(column, chosen, step) for column in self.columns}
        images = torch.stack([example.image for example in chosen])
        varied = tuple(new.image is not old.image for new, old in zip(chosen, found, strict=True))
        return Batch(step, [example.id for example in chosen], images, raw, self.dataset.latent, passed, varied)

    def described(self, step: int, shown: int) -> str:
        """A batch and its first pictures, for a person."""
        positions = [self._order[place] for place in self._places(step)]
        more = f" and {len(positions) - shown} more" if len(positions) > shown else ""
        return f"batch {step} (pictures {', '.join(map(str, positions[:shown]))}{more} of the training split)"

    def _places(self, step: int) -> Iterator[int]:
        return (step * self.batch + place for place in self.share)

    def _read(self, picture: int, passed: dict[str, str]) -> Example:
        """A picture; the next one that can be read where the data set allows some to be bad. Those are noted."""
        shapes = self.dataset.buckets
        for place in range(picture, picture + NEXT):
            if len(shapes) and shapes[place % len(shapes)] != shapes[picture]:
                continue
            try:
                return self.examples[place % len(self.examples)]
            except DataError as error:
                if not self.dataset.most_unreadable:
                    raise
                passed[f"{place % len(self.examples)}"] = str(error)
        raise DataError(f"{NEXT} pictures in a row cannot be read, from number {picture} of the training split on")

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
