"""result: what a comparison found, as one JSON-ready object and as a table: scores, verdicts, prices, budgets."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from datetime import UTC, datetime
from statistics import fmean
from typing import Any

from cdkit.compare.budget import deviation
from cdkit.compare.fingerprint import fingerprint
from cdkit.compare.losses import losses
from cdkit.compare.run import Comparing
from cdkit.compare.score import table
from cdkit.compare.setting import machine
from cdkit.compare.verdict import verdict
from cdkit.compare.work import prompts
from cdkit.engine.journal import METRICS
from cdkit.engine.licences import licences
from cdkit.spec import PartSpec
from cdkit.version import VERSION


def result_of(comparing: Comparing, found: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that the report shows."""
    result = contents(comparing, found)
    return {**result, "fingerprint": fingerprint(result)}


def contents(comparing: Comparing, found: Mapping[str, Any]) -> dict[str, Any]:
    """All of it but its digest."""
    comparison = comparing.comparison
    parts = (comparison.score, *comparison.also)
    return {
        "comparison": comparison.keys.name,
        "reference": comparison.reference,
        "seeds": list(comparison.keys.seeds),
        "match": comparison.keys.match,
        "by": comparison.by,
        "init": comparison.keys.init,
        "score": comparison.score.use,
        "figure": comparison.score.factory().figure,
        "asks": {part.use: asks(part) for part in parts},
        "prompts": list(prompts(comparison, comparison.arms[comparison.reference])),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(comparing.device, comparing.crew.about),
        "cdkit": VERSION,
        "births": found["births"],
        "arms": {arm: arm_of(comparing, found, arm) for arm in comparison.arms},
        "verdicts": {part.use: verdicts(comparing, found, part) for part in parts},
        "budget": budget(comparing, found),
        "differences": comparison.differences,
        "licences": licences(comparison.arms.values()),
    }


def asks(part: PartSpec) -> dict[str, Any]:
    """What a metric asks, by the first paragraph of its docstring, and whether less of it is better."""
    factory = part.factory()
    return {"says": " ".join((factory.__doc__ or "").strip().split("\n\n")[0].split()), "lower": factory.lower}


def arm_of(comparing: Comparing, found: Mapping[str, Any], arm: str) -> dict[str, Any]:
    """One arm: its price, its times, its scores seed by seed, the scale that was chosen for it."""
    cells = comparing.of(arm)
    tests = [found["tests"][cell.folder] for cell in cells]
    return {
        "price": comparing.prices[arm].to_json(),
        "steps": cells[0].spec.train.steps,
        **found["chosen"][arm]._asdict(),
        "seconds": {key: fmean(found["times"][cell.folder][key] for cell in cells) for key in ("step", "training")},
        "scores": {use: [test[use]["value"] for test in tests] for use in tests[0]},
        "groups": {
            use: {group: [test[use]["groups"][group] for test in tests] for group in tests[0][use]["groups"]}
            for use in tests[0]
            if tests[0][use]["groups"]
        },
        "heard": [found["heard"][cell.folder]["steps"] for cell in cells if cell.folder in found["heard"]],
        "speed": found["speeds"].get(arm, {}),
        "validation": {
            str(choice): [found["validation"][cell.folder][choice]["value"] for cell in cells]
            for choice in found["validation"][cells[0].folder]
        },
        "pictures": found["pictures"][arm],
        "words": found["words"][arm],
        "losses": losses([comparing.run_of(cell) / METRICS for cell in cells]),
        "runs": [cell.folder for cell in cells],
        "responses": [comparing.responses(cell) for cell in cells],
    }


def verdicts(comparing: Comparing, found: Mapping[str, Any], part: PartSpec) -> dict[str, Any]:
    """Every arm beside the reference, by one metric."""
    lower, reference = part.factory().lower, comparing.comparison.reference
    tables = {
        arm: table([found["tests"][cell.folder][part.use] for cell in comparing.of(arm)], lower=lower)
        for arm in comparing.comparison.arms
    }
    return {arm: verdict(rows, tables[reference]).to_json() for arm, rows in tables.items() if arm != reference}


def budget(comparing: Comparing, found: Mapping[str, Any]) -> dict[str, Any]:
    """All four axes of every arm, the weights of its methods apart, and how far each is from the reference's."""
    arms, reference = comparing.comparison.arms, comparing.comparison.reference
    steps = {arm: float(comparing.of(arm)[0].spec.train.steps) for arm in arms}
    axes = {
        "steps": steps,
        "parameters": {arm: float(comparing.prices[arm].parameters) for arm in arms},
        "method": {arm: float(comparing.prices[arm].taps) for arm in arms},
        "macs": {arm: steps[arm] * comparing.prices[arm].step * arms[arm].train.batch for arm in arms},
        "seconds": {arm: fmean(found["times"][cell.folder]["training"] for cell in comparing.of(arm)) for arm in arms},
    }
    return {name: {"of": values, "deviation": deviation(values, reference)} for name, values in axes.items()}


def as_csv(result: Mapping[str, Any]) -> str:
    """A row an arm and seed, a column a score, a group of pictures, a price."""
    out = io.StringIO()
    rows = [row(name, arm, place, seed) for name, arm in result["arms"].items() for place, seed in enumerate(result["seeds"])]
    writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def row(name: str, arm: Mapping[str, Any], place: int, seed: int) -> dict[str, Any]:
    groups = {f"{use}_{group}": by[place] for use, kinds in arm["groups"].items() for group, by in kinds.items()}
    speed: Mapping[str, Any] = arm["speed"]
    latency: Mapping[str, float] = speed.get("latency", {})
    return {
        "arm": name,
        "seed": seed,
        **{use: values[place] for use, values in arm["scores"].items()},
        **groups,
        "heard_after_steps": arm["heard"][place] if arm["heard"] else None,
        "guidance": arm["guidance"],
        "ema": arm["ema"],
        "steps": arm["steps"],
        "parameters": arm["price"]["parameters"],
        "macs_forward": arm["price"]["forward"],
        "seconds_a_step": arm["seconds"]["step"],
        "pictures_a_second": speed.get("pictures_a_second"),
        "seconds_a_picture": latency.get("1"),
        "seconds_a_picture_of_16": latency.get("16"),
        "training_memory": speed.get("training_memory"),
        "sampling_memory": speed.get("sampling_memory"),
    }
