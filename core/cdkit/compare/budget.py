"""budget: how wide each arm's methods are, or how many steps it gets, so that all get the same of what is matched."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from statistics import median

from cdkit.compare.price import Price, price_of
from cdkit.compare.read import Comparison
from cdkit.compare.resize import LIMIT, Cost, method_weights, resized
from cdkit.compare.widen import widened
from cdkit.errors import UsageError
from cdkit.spec import Spec

TIMED = 12  # steps, of which the first half warms up
ROUNDS = (3, 12)  # of measuring, at least and at most: until the two fastest of every arm agree
AGREED = 0.02
FILE = "seconds.json"


def fitted(comparison: Comparison) -> Comparison:
    """Its arms with the width solved for, where it is by a width that they are matched. UsageError where 1 % is out of reach."""
    if comparison.by == "steps":
        return comparison
    cost, what = costs(comparison)
    fit = resized if comparison.by == "inner" else widened
    target = cost(comparison.arms[comparison.reference])
    if not target:
        raise UsageError(
            f"the reference {comparison.reference!r} has no injector, so there is no weight to match",
            hint="name another `reference`, or say `by: backbone`",
        )
    arms = {
        name: spec if name == comparison.reference else fit(name, spec, cost, target, what)
        for name, spec in comparison.arms.items()
    }
    return replace(comparison, arms=arms)


def costs(comparison: Comparison) -> tuple[Cost, str]:
    """What an arm spends of the axis, and its name in a sentence."""
    if comparison.keys.match == "macs":
        return training_macs, "the MACs of its training"
    if comparison.by == "inner":
        return method_weights, "the weights of its methods"
    return (lambda spec: float(price_of(spec).parameters)), "the weights of its network"


def training_macs(spec: Spec) -> float:
    return float(price_of(spec).step) * spec.train.batch * spec.train.steps


def matched(comparison: Comparison, prices: Mapping[str, Price], folder: Path, device: str | None) -> dict[str, int]:
    """Steps by arm: its own, unless they are what is solved for, for as much as the reference's take.

    UsageError where rounding to whole steps misses 1 %.
    """
    reference = comparison.reference
    total = comparison.arms[reference].train.steps
    if comparison.keys.match == "steps" or comparison.by != "steps":
        return {name: spec.train.steps for name, spec in comparison.arms.items()}
    if comparison.keys.match == "macs":
        each = {name: float(price.step) * comparison.arms[name].train.batch for name, price in prices.items()}
    else:
        each = seconds(comparison, folder, device)
    steps = {name: max(1, round(total * each[reference] / cost)) for name, cost in each.items()}
    missed = {name: abs(steps[name] * cost / (total * each[reference]) - 1) for name, cost in each.items()}
    worst = max(missed, key=lambda name: missed[name])
    if missed[worst] > LIMIT:
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
    found = step_times(comparison.arms, folder / "timing", device)
    folder.mkdir(parents=True, exist_ok=True)
    kept.write_text(json.dumps({"digests": digests, "seconds": found}), encoding="utf-8")
    return found


def step_times(arms: Mapping[str, Spec], folder: Path, device: str | None) -> dict[str, float]:
    """Seconds of a training step by arm. In a round every arm trains a little; of all rounds an arm's fastest counts, since what
    else runs on a machine makes steps slower and never faster."""
    least, most = ROUNDS
    found: dict[str, list[float]] = {name: [] for name in arms}
    for number in range(1, most + 1):
        for name, spec in arms.items():
            found[name] = sorted([*found[name], step_time(spec, folder / name, device)])
        if number >= least and all(times[1] / times[0] - 1 <= AGREED for times in found.values()):
            break
    return {name: times[0] for name, times in found.items()}


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


def deviation(values: Mapping[str, float], reference: str) -> dict[str, float]:
    """How far each arm's share of an axis is from the reference's, relatively."""
    return {arm: value / values[reference] - 1 if values[reference] else 0.0 for arm, value in values.items()}
