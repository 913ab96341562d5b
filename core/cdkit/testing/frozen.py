"""check_metric and check_callback: parts that are frozen dataclasses of their options, told the truth and nothing more."""

from __future__ import annotations

import dataclasses
import pickle
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cdkit.parts import Approximation, Callback, Metric
from cdkit.testing.verdict import require, run


@dataclass(frozen=True, slots=True)
class FrozenCase:
    """The factory of a metric, a callback or an approximation, its options bound."""

    factory: Callable[[], Metric | Callback | Approximation]


def check_options(case: FrozenCase) -> None:
    """A frozen dataclass: made twice from the same options it is equal, reads the same, and cannot be changed."""
    first, second = case.factory(), case.factory()
    frozen = dataclasses.is_dataclass(first) and first.__dataclass_params__.frozen  # pyright: ignore
    require("options", frozen, "the class", measured="no frozen dataclass", allowed="@dataclass(frozen=True)")
    require("options", first == second, "made again from the same options", measured=repr(second), allowed=repr(first))
    require("options", repr(first) == repr(second), "as it reads", measured=repr(second), allowed=repr(first))


def check_copies(case: FrozenCase) -> None:
    """A pickled copy, as other processes are sent it, is equal."""
    made = case.factory()
    again = pickle.loads(pickle.dumps(made))  # nosec B301 # our own bytes, of this very process
    require("copies", again == made, "a pickled copy", measured=repr(again), allowed=repr(made))


def check_figure(case: FrozenCase) -> None:
    """What it declares of its answer is of the declared types, and a figure's groups are no figure."""
    metric = case.factory()
    assert isinstance(metric, Metric)
    declared: dict[str, Any] = {name: getattr(metric, name) for name in ("figure", "by", "groups", "lower")}
    lower = declared.pop("lower")
    texts = all(isinstance(value, str) for value in declared.values())
    require("figure", texts, "what it declares", measured=declared, allowed="names in its answer, or empty texts")
    require("figure", isinstance(lower, bool), "lower", measured=lower, allowed="True or False")
    named = [value for value in declared.values() if value]
    require("figure", len(named) == len(set(named)), "names in its answer", measured=named, allowed="one for each")


def check_hears(case: FrozenCase) -> None:
    """It hears a training from its beginning to its end, and one that goes on, and raises at nothing."""
    for step in (0, 10):
        callback = case.factory()
        assert isinstance(callback, Callback)
        with tempfile.TemporaryDirectory() as folder:
            run = Path(folder, "run")
            checkpoint = run / "checkpoints" / "step-000020"
            checkpoint.mkdir(parents=True)
            picture = run / "samples.png"
            picture.write_bytes(b"")
            callback.began(run, step, 20)
            callback.logged(step + 10, {"loss": 0.5, "lr": 1e-3, "grad_norm": 1.0, "seconds": 0.1})
            callback.drawn(step + 10, picture)
            callback.saved(20, checkpoint)
            callback.ended(20)


METRIC_CHECKS: Mapping[str, Callable[[FrozenCase], None]] = {
    "options": check_options,
    "copies": check_copies,
    "figure": check_figure,
}
CALLBACK_CHECKS: Mapping[str, Callable[[FrozenCase], None]] = {
    "options": check_options,
    "copies": check_copies,
    "hears": check_hears,
}


def check_metric(factory: Callable[[], Metric], *, exceptions: Mapping[str, str] | None = None) -> None:
    """Run every check on a metric: `factory()`, its options bound with functools.partial. What it measures is its author's."""
    run(METRIC_CHECKS, FrozenCase(factory), exceptions or {})


def check_callback(factory: Callable[[], Callback], *, exceptions: Mapping[str, str] | None = None) -> None:
    """Run every check on a callback: `factory()`, its options bound with functools.partial."""
    run(CALLBACK_CHECKS, FrozenCase(factory), exceptions or {})
