"""Shares with the interval that the truth may lie in: Wilson 1927, "Probable Inference, the Law of Succession"."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import sqrt
from typing import Any

Z95 = 1.959963984540054  # the standard normal's 97.5 % quantile


@dataclass(frozen=True, slots=True)
class Share:
    """`count` of `n`."""

    count: int
    n: int

    @property
    def value(self) -> float:
        """The share itself; 0 of 0 is 0."""
        return self.count / self.n if self.n else 0.0

    def interval(self, z: float = Z95) -> tuple[float, float]:
        """Wilson's interval: right at 0 of n and n of n too, where the normal one collapses. (0, 1) for n = 0."""
        if not self.n:
            return 0.0, 1.0
        weight = z * z / self.n
        centre = (self.value + weight / 2) / (1 + weight)
        half = z / (1 + weight) * sqrt(self.value * (1 - self.value) / self.n + weight / (4 * self.n))
        return max(0.0, min(self.value, centre - half)), min(1.0, max(self.value, centre + half))

    def report(self) -> dict[str, Any]:
        """JSON-ready: the share, its 95 % interval, and of how many."""
        return {"share": self.value, "interval": list(self.interval()), "count": self.count, "n": self.n}


def share_of(hits: Iterable[bool]) -> Share:
    """The share of what is true."""
    found = [bool(hit) for hit in hits]
    return Share(sum(found), len(found))
