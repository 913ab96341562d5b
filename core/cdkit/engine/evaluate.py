"""evaluate: a model's scores by the metrics that its spec names, with everything needed to get them again."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from inspect import signature
from pathlib import Path
from typing import Any

import torch

from cdkit.build.assemble import blamed
from cdkit.engine.examinee import Examined
from cdkit.errors import EnvironmentFault, UsageError
from cdkit.model import Model
from cdkit.parts import Dataset, Metric
from cdkit.spec import PartSpec, Spec

Scale = float | None  # of guidance; None is the spec's own


@dataclass(frozen=True)
class Asked:
    """A metric that is made, and the name it goes by."""

    name: str
    metric: Metric

    @property
    def options(self) -> dict[str, Any]:
        """Its options, filled: those of a dataclass, as every metric should be one."""
        return asdict(self.metric) if is_dataclass(self.metric) else {}

    @property
    def file(self) -> str:
        """What a report on it is called: said_drawn-zh-validation."""
        told = (str(self.options[key]) for key in ("language", "split") if key in self.options)
        return "-".join((self.name.replace("/", "-"), *told))


def evaluate(examined: Examined, asked: Sequence[Asked], *, scales: Sequence[Scale] = (None,)) -> list[dict[str, Any]]:
    """Every metric at every guidance scale -> a report each, JSON-ready, in the order asked."""
    return [_report(examined, one, scales) for one in asked]


def make_dataset(spec: Spec) -> Dataset:
    """The data set that the spec names. UsageError where it names none."""
    if spec.data is None:
        raise UsageError(
            f"{spec.name} has no `data:`, so there are no pictures to learn from or to judge it by",
            hint="add `data:` to the spec",
        )
    with blamed(spec.data.place, "data"):
        dataset: Dataset = spec.data.factory()(**spec.data.keywords)
    return dataset


def make_metrics(spec: Spec, names: Sequence[str] = (), *, options: Mapping[str, Any] | None = None) -> list[Asked]:
    """The metrics of the spec's `evaluate:`, or those named; a name that is not in it is made with its defaults.

    options: instead of the spec's, for every metric that takes them; UsageError for one that no metric takes.
    """
    parts = [part for part in spec.evaluate if not names or part.use in names]
    extra = [name for name in names if name not in {part.use for part in parts}]
    if not parts and not extra:
        raise UsageError(f"{spec.name} has no `evaluate:`", hint="name a metric with --metric")
    given = {key: value for key, value in (options or {}).items() if value is not None}
    factories = [part.factory() for part in parts] + [spec.registry.get("metric", name) for name in extra]
    _all_taken(given, factories)
    made = [_from_spec(part, given) for part in parts]
    return made + [Asked(name, (make := spec.registry.get("metric", name))(**_taken(make, given))) for name in extra]


def _from_spec(part: PartSpec, given: Mapping[str, Any]) -> Asked:
    factory = part.factory()
    with blamed(part.place, "evaluate"):
        return Asked(part.use, factory(**{**part.keywords, **_taken(factory, given)}))


def _taken(factory: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    keys = signature(factory).parameters
    return {key: value for key, value in given.items() if key in keys}


def _all_taken(given: Mapping[str, Any], factories: Sequence[Any]) -> None:
    for key in given:
        if not any(key in signature(factory).parameters for factory in factories):
            raise UsageError(f"no metric asked for takes {key!r}")


def _report(examined: Examined, asked: Asked, scales: Sequence[Scale]) -> dict[str, Any]:
    return {
        "metric": asked.name,
        "options": asked.options,
        **provenance(examined.model),
        "data": {"use": _name(examined.model.spec.data), "fingerprint": examined.dataset.fingerprint()},
        "scores": [_score(replace(examined, guidance=scale), asked, scale) for scale in scales],
    }


def _score(examined: Examined, asked: Asked, scale: Scale) -> dict[str, Any]:
    start = time.perf_counter()
    result = dict(asked.metric(examined))
    took = round(time.perf_counter() - start, 1)
    return {"guidance": scale, "recipe": _recipe(examined), "seconds": took, "result": result}


def _recipe(examined: Examined) -> dict[str, Any]:
    """How pictures were drawn, as the model itself says; nothing where none can be."""
    from cdkit.model.draw import decided

    spec = examined.model.spec
    if spec.task == "autoencoder" or (spec.sampler is None and examined.sampler is None):
        return {}
    how: dict[str, Any] = {"steps": examined.steps, "guidance": examined.guidance, "sampler": examined.sampler}
    recipe = decided(examined.model, **how, approximate=examined.approximate)
    return dict(recipe.words)


def provenance(model: Model) -> dict[str, Any]:
    """Which model, by which code, on which machine, when."""
    versions = {"cdkit": version("cdkit"), "torch": torch.__version__, "python": platform.python_version()}
    return {
        "model": model.spec.name,
        "spec": model.spec.digest(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "device": str(model.device),
        "versions": {**versions, **model.spec.provenance},
    }


def _name(part: PartSpec | None) -> str | None:
    return None if part is None else part.use


def write_reports(reports: Iterable[Mapping[str, Any]], files: Iterable[str], folder: Path) -> list[Path]:
    """One JSON file a report, in the folder, each written whole or not at all; those of an earlier evaluation are replaced."""
    paths: list[Path] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for report, stem in zip(reports, files, strict=True):
            paths.append(_unused(folder, stem, paths))
            temporary = paths[-1].with_name(f".{paths[-1].name}.{os.getpid()}")
            temporary.write_text(json.dumps(report, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
            temporary.replace(paths[-1])
    except OSError as error:
        raise EnvironmentFault(f"{folder}: cannot write the report: {error}", hint="name another folder with --out") from error
    return paths


def _unused(folder: Path, stem: str, taken: Sequence[Path]) -> Path:
    """stem.json, or stem-2.json … where this very evaluation has a report of that name already."""
    names = (folder / f"{stem}{f'-{turn}' if turn else ''}.json" for turn in (0, *range(2, len(taken) + 2)))
    return next(path for path in names if path not in taken)
