"""The tables of docs/budgets.md: what six methods become when they get as much as cross-attention, and how far off they are.

python docs/budgets.py              # print what is counted
python docs/budgets.py --write      # put it on the page
python docs/budgets.py --seconds    # put on the page what is measured too, on this machine, today
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from cdkit.compare.budget import deviation, fitted, matched, step_times, training_macs
from cdkit.compare.price import Price, price_of
from cdkit.compare.read import Axis, By, Comparison, read_comparison
from cdkit.compare.resize import method_weights
from cdkit.compare.setting import machine

ROOT = Path(__file__).parents[1]
PAGE = Path(__file__).parent / "budgets.md"
ARMS = ROOT / "specs" / "compare" / "budgets.yaml"


def asked(axis: Axis, by: By) -> Comparison:
    """The six and their reference, matched in this axis."""
    read = read_comparison(ARMS)
    return replace(read, keys=replace(read.keys, match=axis, by=by))


def inners(comparison: Comparison) -> dict[str, str]:
    """The width that each arm's method was given; an arm that says none is as it was."""
    said = {name: spec.injectors[0].part.options["inner"] for name, spec in comparison.arms.items()}
    return {name: "as it is" if inner is None else f"{inner:g}" for name, inner in said.items()}


def steps_of(comparison: Comparison, prices: Mapping[str, Price]) -> dict[str, int]:
    with TemporaryDirectory() as folder:
        return matched(comparison, prices, Path(folder), "cpu")


def counted() -> str:
    """The axes that are counted: what was solved for, and how far that is from the reference's."""
    plain = asked("steps", "steps")
    prices = {name: price_of(spec) for name, spec in plain.arms.items()}
    steps = {name: float(count) for name, count in steps_of(plain, prices).items()}
    weights, wide = fitted(asked("parameters", "inner")), fitted(asked("macs", "inner"))
    longer = steps_of(asked("macs", "steps"), prices)
    columns = [
        ("`match: steps`", {name: f"{count:g} steps" for name, count in steps.items()}, steps),
        (
            "`match: parameters`",
            {name: f"inner {inner}" for name, inner in inners(weights).items()},
            {name: method_weights(spec) for name, spec in weights.arms.items()},
        ),
        (
            "`match: macs`",
            {name: f"{count} steps" for name, count in longer.items()},
            {name: float(longer[name] * price.step) for name, price in prices.items()},
        ),
        (
            "`match: macs, by: inner`",
            {name: f"inner {inner}" for name, inner in inners(wide).items()},
            {name: training_macs(spec) for name, spec in wide.arms.items()},
        ),
    ]
    return table(columns, plain.reference)


def measured() -> str:
    """Seconds: steps that follow from what a step took, and how far off they are when every arm is measured again."""
    comparison = asked("seconds", "steps")
    steps = steps_of(comparison, {})
    with TemporaryDirectory() as folder:
        again = step_times(comparison.arms, Path(folder), "cpu")
    spent = {name: steps[name] * second for name, second in again.items()}
    made = table([("`match: seconds`", {name: f"{count} steps" for name, count in steps.items()}, spent)], comparison.reference)
    return f"{made}\nMeasured on {datetime.now(UTC):%Y-%m-%d}, {machine('cpu')}, and measured again for the deviation.\n"


def table(columns: list[tuple[str, Mapping[str, str], Mapping[str, float]]], reference: str) -> str:
    """A row an arm, and last what is farthest off."""
    off = [deviation(spent, reference) for _, _, spent in columns]
    worst = [max(abs(value) for value in values.values()) for values in off]
    return "\n".join([*head([name for name, _, _ in columns]), *body(columns, off, reference), last(worst), ""])


def head(names: list[str]) -> Iterator[str]:
    yield f"| method | {' | '.join(names)} |"
    yield "|---" * (len(names) + 1) + "|"


def body(
    columns: list[tuple[str, Mapping[str, str], Mapping[str, float]]], off: list[dict[str, float]], reference: str
) -> Iterator[str]:
    for name in columns[0][1]:
        cells = [f"{solved[name]}, {values[name]:+.2%}" for (_, solved, _), values in zip(columns, off, strict=True)]
        if name == reference:
            cells = [f"{solved[name]}, the reference" for _, solved, _ in columns]
        yield f"| `{name}` | {' | '.join(cells)} |"


def last(worst: list[float]) -> str:
    return f"| farthest off | {' | '.join(f'**{value:.2%}**' for value in worst)} |"


def write(mark: str, text: str) -> None:
    """Between the page's marks of this name."""
    block = re.compile(rf"(<!-- {mark} -->\n).*?(<!-- /{mark} -->)", re.DOTALL)
    PAGE.write_text(block.sub(lambda found: f"{found[1]}{text}\n{found[2]}", PAGE.read_text(encoding="utf-8")), encoding="utf-8")


def main(arguments: list[str]) -> None:
    made = counted()
    if "--write" in arguments or "--seconds" in arguments:
        write("counted", made)
    else:
        print(made)
    if "--seconds" in arguments:
        write("measured", measured())


if __name__ == "__main__":
    main(sys.argv[1:])
