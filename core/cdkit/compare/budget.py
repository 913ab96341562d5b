"""budget: how many steps each arm gets, so that all get the same of what the comparison matches."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from statistics import median

from cdkit.compare.price import Price
from cdkit.compare.read import Comparison
from cdkit.errors import UsageError
from cdkit.spec import Spec

TIMED = 12  # steps, of which the first half warms up
FILE = "seconds.json"


def matched(comparison: Comparison, prices: Mapping[str, Price], folder: Path, device: str | None) -> dict[str, int]:
    """Steps by arm. The reference's `train.steps` say how much there is of it; UsageError where rounding misses 1 %."""
    reference = comparison.reference
    total = comparison.arms[reference].train.steps
    if comparison.keys.match == "steps":
        return {name: spec.train.steps for name, spec in comparison.arms.items()}
    if comparison.keys.match == "macs":
        costs = {name: float(price.step) for name, price in prices.items()}
    else:
        costs = seconds(comparison, folder, device)
    steps = {name: max(1, round(total * costs[reference] / cost)) for name, cost in costs.items()}
    missed = {name: abs(steps[name] * cost / (total * costs[reference]) - 1) for name, cost in costs.items()}
    worst = max(missed, key=lambda name: missed[name])
    if missed[worst] > 0.01:
        raise UsageError(
            f"{steps[worst]} steps of {worst!r} miss the budget in {comparison.keys.match} by {missed[worst]:.1%}",
            hint="give the reference more train.steps, so that a step is less than 1 % of the budget",
        )
    return steps


def seconds(comparison: Comparison, folder: Path, device: str | None) -> dict[str, float]:
    """Measured once for a folder, arms in turn; kept, so that a comparison that goes on has the budget it began with."""
    kept = folder / FILE
    digests = {name: spec.digest() for name, spec in comparison.arms.items()}
    if kept.is_file() and (known := json.loads(kept.read_text(encoding="utf-8")))["digests"] == digests:
        return known["seconds"]
    found = {name: step_time(spec, folder / "timing" / name, device) for name, spec in comparison.arms.items()}
    folder.mkdir(parents=True, exist_ok=True)
    kept.write_text(json.dumps({"digests": digests, "seconds": found}), encoding="utf-8")
    return found


def step_time(spec: Spec, folder: Path, device: str | None) -> float:
    """The median of a few steps' seconds, measured by training them."""
    import shutil

    from cdkit.engine.train import train

    shutil.rmtree(folder, ignore_errors=True)
    short = replace(spec.train, steps=TIMED, log_every=1, checkpoint_every=TIMED, sample_every=0)
    began = time.monotonic()
    run = train(replace(spec, train=short), folder, device=device, say=lambda _: None)
    lines = (run.path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    shutil.rmtree(folder, ignore_errors=True)
    timed = [float(json.loads(line)["seconds"]) for line in lines][TIMED // 2 :]
    return median(timed) if timed else time.monotonic() - began
