"""losses: what training lowered, seed by seed, smoothed: a point is the mean of a fiftieth of the logged steps."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Any

from cdkit.engine.journal import losses_of

POINTS = 50


def losses(journals: Sequence[Path]) -> dict[str, Any]:
    """Runs of one arm -> {"steps": P of them, the last of each span; "seeds": P means of each run}. P is 50, or fewer logged."""
    runs = [losses_of(journal.parent) for journal in journals]
    steps = sorted(set.intersection(*(set(run) for run in runs)))
    spans = [span for span in split(steps, POINTS) if span]
    return {
        "steps": [span[-1] for span in spans],
        "seeds": [[fmean(run[step] for step in span) for span in spans] for run in runs],
    }


def split(steps: Sequence[int], parts: int) -> list[Sequence[int]]:
    """Steps in order, in so many spans as equal as can be; some are empty where there are fewer steps."""
    edges = [len(steps) * number // parts for number in range(parts + 1)]
    return [steps[start:end] for start, end in pairwise(edges)]
