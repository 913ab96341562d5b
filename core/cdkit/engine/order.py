"""Order: which picture stands at a place of the endless row of shuffled epochs; a function of (seed, place) alone.

A few thousand pictures are shuffled as a whole. Pictures that lie in many files are shuffled by windows: files in a new order
each epoch, a window of files after the other, and in it all pictures. So a window's files are open at a time, memory does not
grow with the data, and any place is found without those before it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from itertools import accumulate

import torch

from cdkit.diffusion.random import generator
from cdkit.parts import Dataset

WINDOW = 16  # files


def permutation(count: int, seed: int, *parts: int | str) -> list[int]:
    """0 … count - 1, shuffled for one purpose."""
    return torch.randperm(count, generator=generator(seed, *parts)).tolist()


class Order:
    """count: pictures. files: how many of them lie in each file, in a row; none: they are shuffled as a whole."""

    def __init__(self, count: int, files: Sequence[int], seed: int) -> None:
        if files and sum(files) != count:
            raise ValueError(f"{len(files)} files hold {sum(files)} pictures, and there are {count}")
        self.count, self.files, self.seed = count, tuple(files), seed
        self.begins = [0, *accumulate(self.files)]
        self._epoch = -1
        self._windows: list[list[int]] = []  # files of each
        self._ends: list[int] = []  # places at which they end
        self._shuffled: dict[tuple[int, int], list[int]] = {}

    def __getitem__(self, place: int) -> int:
        epoch, position = divmod(place, self.count)
        if epoch != self._epoch:
            self._lay_out(epoch)
        window = bisect_right(self._ends, position)
        begin = self._ends[window - 1] if window else 0
        return self._pictures(epoch, window)[position - begin]

    def _lay_out(self, epoch: int) -> None:
        files = permutation(len(self.files), self.seed, "files", epoch) if self.files else []
        self._windows = [files[start : start + WINDOW] for start in range(0, len(files), WINDOW)]
        self._ends = list(accumulate(sum(self.files[file] for file in window) for window in self._windows)) or [self.count]
        self._epoch, self._shuffled = epoch, {}

    def _pictures(self, epoch: int, window: int) -> list[int]:
        """Those of a window, shuffled; two windows are remembered, for a batch may lie in both."""
        if (epoch, window) not in self._shuffled:
            self._shuffled = dict(list(self._shuffled.items())[-1:])
            self._shuffled[epoch, window] = self._shuffle(epoch, window)
        return self._shuffled[epoch, window]

    def _shuffle(self, epoch: int, window: int) -> list[int]:
        if not self.files:
            return permutation(self.count, self.seed, "epoch", epoch)
        there = [range(self.begins[file], self.begins[file + 1]) for file in self._windows[window]]
        pictures = [picture for rows in there for picture in rows]
        return [pictures[place] for place in permutation(len(pictures), self.seed, "window", epoch, window)]


class BucketOrder:
    """Places in batches of pictures of one shape. buckets: of each picture, which shape it has.

    Windows are of neighbouring files, always the same ones, so that an epoch always has as many batches. Where a shape's pictures
    of a window do not fill its last batch, the first of them come again.
    """

    def __init__(self, files: Sequence[int], buckets: Sequence[int], batch: int, seed: int) -> None:
        begins = [0, *accumulate(files)]
        self.windows = [range(begins[at], begins[min(at + WINDOW, len(files))]) for at in range(0, len(files), WINDOW)]
        self.buckets, self.batch, self.seed = buckets, batch, seed
        self.batches = [sum(-(-n // batch) for n in Counter(int(buckets[row]) for row in rows).values()) for rows in self.windows]
        self.count = batch * sum(self.batches)
        self._epoch = -1
        self._turn: list[int] = []  # windows, in this epoch's order
        self._ends: list[int] = []  # batches at which they end
        self._made: tuple[int, int, list[list[int]]] = (-1, -1, [])

    def __getitem__(self, place: int) -> int:
        epoch, position = divmod(place, self.count)
        if epoch != self._epoch:
            self._turn = permutation(len(self.windows), self.seed, "windows", epoch)
            self._ends = list(accumulate(self.batches[window] for window in self._turn))
            self._epoch = epoch
        number, row = divmod(position, self.batch)
        turn = bisect_right(self._ends, number)
        return self._batches(epoch, self._turn[turn])[number - (self._ends[turn - 1] if turn else 0)][row]

    def _batches(self, epoch: int, window: int) -> list[list[int]]:
        """Those of a window, in the order in which they come."""
        if self._made[:2] != (epoch, window):
            rows = self.windows[window]
            shuffled = [rows[place] for place in permutation(len(rows), self.seed, "window", epoch, window)]
            alike: dict[int, list[int]] = {}
            for picture in shuffled:
                alike.setdefault(int(self.buckets[picture]), []).append(picture)
            made = [batch for _, pictures in sorted(alike.items()) for batch in self._filled(pictures)]
            turn = permutation(len(made), self.seed, "batches", epoch, window)
            self._made = epoch, window, [made[place] for place in turn]
        return self._made[2]

    def _filled(self, pictures: list[int]) -> list[list[int]]:
        short = -len(pictures) % self.batch
        whole = pictures + [pictures[place % len(pictures)] for place in range(short)]
        return [whole[start : start + self.batch] for start in range(0, len(whole), self.batch)]


def order_of(dataset: Dataset, count: int, batch: int, seed: int) -> Order | BucketOrder:
    """By shapes, where the data set has several."""
    if len(dataset.buckets):
        return BucketOrder(dataset.files or [count], dataset.buckets, batch, seed)
    return Order(count, dataset.files, seed)
