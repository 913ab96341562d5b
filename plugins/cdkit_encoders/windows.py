"""A long prompt as several windows, each as long as the network reads at once, with its own beginning and end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

import torch
from torch import Tensor


class Piece(NamedTuple):
    """One token of a prompt, and what it weighs."""

    id: int
    weight: float = 1.0


class Windowed(NamedTuple):
    """Prompts cut into W windows of L tokens, window behind window."""

    ids: Tensor  # (B, W * L) int
    mask: Tensor  # (B, W * L) bool: a window's own beginning, pieces and end; nothing in a window without pieces but the first
    weights: Tensor  # (B, W * L) float32, 1 where no piece stands


@dataclass(frozen=True, slots=True)
class Windows:
    """`count` windows of `length` tokens, between `start` and `end`, filled up with `pad`."""

    count: int
    length: int
    start: int
    end: int
    pad: int

    def of(self, rows: Sequence[Sequence[Piece]]) -> Windowed:
        """B rows of pieces -> B * count windows; pieces that fit in none are left out."""
        cut = [self._cut(row) for row in rows]
        ids, mask, weights = (torch.tensor([[value for piece in row for value in piece[i]] for row in cut]) for i in range(3))
        return Windowed(ids, mask, weights)

    def _cut(self, row: Sequence[Piece]) -> list[tuple[list[int], list[bool], list[float]]]:
        left = iter(row)
        return [self._one(list(islice(left, self.length - 2)), said=number == 0) for number in range(self.count)]

    def _one(self, pieces: Sequence[Piece], *, said: bool) -> tuple[list[int], list[bool], list[float]]:
        """Ids, mask and weights of one window, each `length` long. said: it counts even if it is empty."""
        missing = self.length - 2 - len(pieces)
        ids = [self.start, *(piece.id for piece in pieces), self.end, *[self.pad] * missing]
        counts = said or bool(pieces)
        weights = [1.0, *(piece.weight for piece in pieces), 1.0, *[1.0] * missing]
        return ids, [counts] * (len(pieces) + 2) + [False] * missing, weights
