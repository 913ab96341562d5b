"""score: what a metric answers, as the row of a table that a verdict reads: prompt by prompt where it says so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from inspect import signature
from typing import Any

from cdkit.build.assemble import blamed
from cdkit.engine.examinee import Examined
from cdkit.parts import Metric
from cdkit.spec import PartSpec


def made(part: PartSpec, **options: Any) -> Metric:
    """The metric, with those options instead of its own that it takes."""
    taken = {key: value for key, value in options.items() if key in signature(part.factory()).parameters}
    with blamed(part.place, part.use):
        metric: Metric = part.factory()(**{**part.keywords, **taken})
    return metric


def asked(metric: Metric, examined: Examined, scale: float | None) -> dict[str, Any]:
    """What it answers at a guidance scale: `value`, `row` by prompt, `prompts`, `groups`, and all of its answer as `result`."""
    result = dict(metric(replace(examined, guidance=scale)))
    by: Mapping[str, Any] = result.get(metric.by, {}) if metric.by else {}
    prompts = sorted(by)
    row = [number(by[prompt]) for prompt in prompts] or [number(result[metric.figure])]
    told: Mapping[str, Any] = result.get(metric.groups, {}) if metric.groups else {}
    groups = {group: number(share) for group, share in told.items()}
    return {"value": number(result[metric.figure]), "row": row, "prompts": prompts, "groups": groups, "result": result}


def number(figure: Any) -> float:
    """A share's share; any other figure is a number already."""
    return float(figure["share"] if isinstance(figure, Mapping) else figure)


def table(answers: Sequence[Mapping[str, Any]], *, lower: bool) -> list[list[float]]:
    """Answers seed by seed -> (seeds, prompts), larger being better."""
    sign = -1.0 if lower else 1.0
    return [[sign * value for value in answer["row"]] for answer in answers]
