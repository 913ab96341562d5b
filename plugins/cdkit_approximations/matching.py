"""Matching: which tokens are merged into which, by their likeness (Bolya et al. 2022, arXiv 2210.09461)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from cdkit.parts import SampleShape
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True, slots=True)
class Squares:
    """Tokens in rows and columns, of which the first of every square stays whatever happens."""

    rows: int
    columns: int
    side: int

    @classmethod
    def of(cls, sample: SampleShape, stride: int, side: int) -> Squares:
        """Of a picture, where a token is of so many of its rows."""
        return cls(-(-sample.height // stride), -(-sample.width // stride), side)

    @property
    def staying(self) -> int:
        return -(-self.rows // self.side) * -(-self.columns // self.side)

    @property
    def going(self) -> int:
        return self.rows * self.columns - self.staying

    def order(self, device: torch.device) -> Tensor:
        """Those that stay, then the others: made on the device, so that nothing waits for it."""
        row, column = (torch.arange(size, device=device) % self.side for size in (self.rows, self.columns))
        return ((row[:, None] + column) > 0).flatten().to(torch.uint8).argsort(stable=True)


class Merged(NamedTuple):
    """tokens (B, n - away, C), and where among them each of the n is found: place (B, n)."""

    tokens: Tensor
    place: Tensor

    def spread(self, answers: Tensor) -> Tensor:
        """(B, n - away, C) -> (B, n, C): one answer for all that were merged."""
        return answers.gather(1, self.place[..., None].expand(-1, -1, answers.shape[2]))


def matched(tokens: Tensor, squares: Squares, away: int) -> Merged:
    """tokens (B, n, C): of those that may go, the `away` that are most like one that stays, each into the one it is most like.

    A merged token is the mean of what it was made of. The sums are a product with zeros and ones: those of scattering are of no
    fixed order on a GPU.
    """
    order, n = squares.order(tokens.device), squares.staying
    staying, going = tokens[:, order].tensor_split([n], dim=1)
    likeness = F.normalize(going, dim=2) @ F.normalize(staying, dim=2).transpose(1, 2)
    score, nearest = likeness.max(dim=2)
    gone, left = score.argsort(dim=1, descending=True, stable=True).tensor_split([away], dim=1)
    numbers = torch.arange(n, device=tokens.device)
    into = (nearest.gather(1, gone)[:, None] == numbers[:, None]).to(tokens.dtype)  # (B, staying, away)
    means = (staying + into @ rows(going, gone)) / (1 + into.sum(dim=2, keepdim=True))
    behind = torch.arange(n, n + left.shape[1], device=tokens.device)
    place = torch.cat([numbers.expand(len(tokens), -1), nearest.scatter(1, left, behind.expand(len(tokens), -1))], dim=1)
    return Merged(torch.cat([means, rows(going, left)], dim=1), place[:, order.argsort()])


def rows(tokens: Tensor, chosen: Tensor) -> Tensor:
    """tokens (B, n, C) and numbers (B, m) of them -> (B, m, C)."""
    return tokens.gather(1, chosen[..., None].expand(-1, -1, tokens.shape[2]))
