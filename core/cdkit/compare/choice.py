"""choice: what is chosen for an arm after its training, by the validation split, over all of its seeds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from cdkit.compare.arms import Cell
from cdkit.compare.read import Comparison


class Choice(NamedTuple):
    """What is chosen for an arm after its training: how strongly it is guided, and over how long its weights are averaged."""

    guidance: float | None
    ema: float | None = None

    def __str__(self) -> str:
        return f"{self.guidance}" if self.ema is None else f"{self.guidance}-{self.ema}"

    def words(self) -> str:
        guided = "no guidance" if self.guidance is None else f"guidance {self.guidance:g}"
        return guided if self.ema is None else f"{guided}, averaged over {self.ema:g}"


def best(comparison: Comparison, validation: Mapping[str, Mapping[Choice, Any]], arm: list[Cell]) -> Choice:
    """What is best on the validation split, over all seeds; of equals the first."""
    sign = -1 if comparison.score.factory().lower else 1
    choices = list(validation[arm[0].folder])
    return max(choices, key=lambda choice: sum(sign * validation[cell.folder][choice]["value"] for cell in arm))
