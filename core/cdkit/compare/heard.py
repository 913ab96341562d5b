"""heard: after how many steps of training a model hears its words: where a score first passes chance by ten points."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch import Tensor

from cdkit.compare.score import number
from cdkit.engine.examinee import Examined
from cdkit.engine.power_ema import snapshots
from cdkit.engine.weights import load_average
from cdkit.errors import UsageError
from cdkit.model import Model
from cdkit.parts import Metric

MARGIN = 0.10


def heard(model: Model, run: Path, metric: Metric, examined: Examined) -> dict[str, Any]:
    """`steps` of the first snapshot that passes, None where none does; `asked`: every score on the way, by step.

    The snapshots are of the shortest average that the training tracked, so they lag behind the weights by that much. UsageError
    for a metric that does not say what chance is.
    """
    asked: dict[int, float] = {}
    for step, weights in averages(run):
        load_average(model, weights, str(run))
        answer = metric(examined)
        if "chance" not in answer:
            raise UsageError(f"heard: {type(metric).__name__} does not say what chance is", hint="ask {use: identification}")
        asked[step] = number(answer[metric.figure])
        if asked[step] >= answer["chance"] + MARGIN:
            return {"steps": step, "asked": asked}
    return {"steps": None, "asked": asked}


def averages(run: Path) -> Iterator[tuple[int, dict[str, Tensor]]]:
    """The steps at which a run kept its shortest average, and what it was then."""
    for step, by_length in snapshots(run):
        yield step, by_length[min(by_length)]
