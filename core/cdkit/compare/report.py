"""report: a comparison as one HTML file that opens from disk, asks no network, and reads on a phone, in light and dark."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from importlib.resources import files
from math import inf
from pathlib import Path
from statistics import fmean
from string import Template
from typing import Any

from cdkit.compare.arms import UNLIKE
from cdkit.compare.curves import curves, training
from cdkit.compare.forest import TONES, forest
from cdkit.compare.maps import words
from cdkit.compare.read import IN_WORDS
from cdkit.compare.shelf import pictures, slider
from cdkit.compare.table import rows
from cdkit.compare.words import interval, sentence

NO_COMMAND = "made by a program, without a command"
LARGE = (("P", 1e15), ("T", 1e12), ("G", 1e9))


def report(result: Mapping[str, Any], folder: Path) -> str:
    """The page. folder: where the comparison lies, for its pictures."""
    page = Template(files("cdkit.compare").joinpath("page.html").read_text(encoding="utf-8"))
    arms: Mapping[str, Any] = result["arms"]
    return page.substitute(
        title=escape(f"{result['comparison']}: which way of telling works best?"),
        about=escape(about(result)),
        verdicts="".join(item(result, arm) for arm in arms if arm != result["reference"]),
        confidence=escape(confidence(result)),
        forest=forest(result["verdicts"][result["score"]], str(result["reference"])),
        asks="".join(asked(use, told) for use, told in result["asks"].items()),
        slider=slider(result),
        scores=rows(["arm", *heads(result)], (score_row(result, arm) for arm in arms)),
        curves=curves({name: arm["validation"] for name, arm in arms.items()}, str(result["figure"])),
        groups=grouped(result),
        prices=rows(price_heads(result), (price_row(name, arm) for name, arm in arms.items())),
        match=escape(matched(result)),
        budget=rows(["arm", *result["budget"]], (budget_row(result, arm) for arm in arms)),
        differences="".join(difference(arm, lines) for arm, lines in result["differences"].items()),
        pictures=pictures(result, folder),
        command=escape(result.get("command", NO_COMMAND)),
        training=training({name: arm["losses"] for name, arm in arms.items()}),
        words=words({name: arm["words"] for name, arm in arms.items()}, folder),
        licences=rows(
            ["taken", "licence"], ([part, licence or "not stated"] for part, licence in result["licences"].items()), "told"
        ),
        fairness=escape(fairness(result)),
    )


def about(result: Mapping[str, Any]) -> str:
    seeds = len(result["seeds"])
    many = f"{seeds} seeds" if seeds > 1 else "1 seed"
    return f"{len(result['arms'])} arms, {many} each, on {result['machine']}, {result['date'][:10]}, cdkit {result['cdkit']}."


def asked(use: str, told: Mapping[str, Any]) -> str:
    """What a score asks, and which way is better."""
    return f"<li><strong>{escape(use)}</strong>: {escape(told['says'])} {'Less' if told['lower'] else 'More'} is better.</li>"


def item(result: Mapping[str, Any], arm: str) -> str:
    tone = TONES[result["verdicts"][result["score"]][arm]["outcome"]]
    return f'<li class="{tone}">{escape(sentence(result, arm).strip())}.</li>'


def confidence(result: Mapping[str, Any]) -> str:
    """What the intervals mean, and what to be careful about."""
    found = next(iter(result["verdicts"][result["score"]].values()))
    count = len(result["arms"]) - 1
    text = (
        f"Each interval holds the truth in {found['confidence']:.0%} of such comparisons, one by one; {count} stand here. "
        "Seeds and prompts are paired: every arm met the same."
    )
    return f"{text} {found['warning']}." if found["warning"] else text


def fairness(result: Mapping[str, Any]) -> str:
    loud = "as it was made" if result["init"] == "zero" else "scaled until all spoke alike"
    return (
        f"At birth every method was {loud}. {births(result)} Data order, times, noise and silences are keyed by seed, "
        "picture and step. Guidance and average of each arm were chosen on the validation split; scores are of the test split."
    )


def matched(result: Mapping[str, Any]) -> str:
    """The axis, what was solved for, and who was left out of it."""
    text = f"{result['match']}, by {IN_WORDS[result['by']]}"
    left = [name for name, arm in result["arms"].items() if not arm["price"]["taps"]]
    return f"{text}; {' and '.join(left)} had no method to be resized" if left and result["by"] == "inner" else text


def births(result: Mapping[str, Any]) -> str:
    """Whether the arms' backbones started alike, with the proof."""
    if UNLIKE in result["births"].values():
        return "The arms' backbones are not one network: their weights differed at birth, and luck with them."
    digests = ", ".join(f"seed {seed}: {digest[:12]}" for seed, digest in result["births"].items())
    return f"The arms' backbones were bit-equal at birth (sha256 {digests})."


def heads(result: Mapping[str, Any]) -> list[str]:
    return [*result["verdicts"], "beside the reference", "guidance", "average", *(["heard after steps"] if hears(result) else [])]


def hears(result: Mapping[str, Any]) -> bool:
    return any(arm["heard"] for arm in result["arms"].values())


def score_row(result: Mapping[str, Any], name: str) -> list[str]:
    arm = result["arms"][name]
    scores = [spelled(values) for values in arm["scores"].values()]
    found = result["verdicts"][result["score"]].get(name)
    scale = "none" if arm["guidance"] is None else f"{arm['guidance']:g}"
    average = "the spec's" if arm["ema"] is None else f"{arm['ema']:g}"
    heard = [steps_heard(arm["heard"])] if hears(result) else []
    return [name, *scores, interval(found) if found else "the reference", scale, average, *heard]


PRICE = ["arm", "parameters", "of the method", "MACs a step", "MACs once a prompt"]
SPEED = ["pictures a second, training", "ms a picture, alone", "ms a picture, 16 at once", "memory, training", "memory, drawing"]


def price_heads(result: Mapping[str, Any]) -> list[str]:
    return [*PRICE, *(SPEED if any(arm["speed"] for arm in result["arms"].values()) else ["ms a training step"])]


def price_row(name: str, arm: Mapping[str, Any]) -> list[str]:
    price, speed = arm["price"], arm["speed"]
    counts = [f"{price[key]:,}" for key in ("parameters", "taps", "forward", "prepare")]
    if not speed:
        return [name, *counts, f"{1000 * arm['seconds']['step']:.1f}"]
    latency = [f"{1000 * speed['latency'][n]:.1f}" for n in ("1", "16")]
    memory = [held(speed[key]) for key in ("training_memory", "sampling_memory")]
    return [name, *counts, f"{speed['pictures_a_second']:.0f}", *latency, *memory]


def held(size: int | None) -> str:
    return "not measured" if size is None else f"{size / 2**20:,.0f} MiB"


def grouped(result: Mapping[str, Any]) -> str:
    """A table for each score that knows sorts of pictures, such as those of pairs that were never trained on; "" without any."""
    arms: Mapping[str, Any] = result["arms"]
    first = next(iter(arms.values()))
    tables = [
        f"<h2>{escape(use)}, taken apart</h2>{scrolled(rows(['arm', *groups], group_rows(arms, use, groups)))}"
        for use, groups in first["groups"].items()
    ]
    return "".join(tables)


def scrolled(table: str) -> str:
    return f"<div class='scroll' tabindex='0'>{table}</div>"


def group_rows(arms: Mapping[str, Any], use: str, groups: Iterable[str]) -> Iterator[list[str]]:
    for name, arm in arms.items():
        yield [name, *(spelled(arm["groups"][use][group]) for group in groups)]


def spelled(values: Sequence[float]) -> str:
    """The mean of the seeds, and below it each of them."""
    return f"{fmean(values):.4g}\n{', '.join(f'{value:.4g}' for value in values)}"


def steps_heard(steps: Sequence[int | None]) -> str:
    """The median of the seeds, and below it each of them; an arm that is told nothing hears nothing."""
    if not steps:
        return "nothing is said"
    each = ["not yet" if step is None else str(step) for step in steps]
    late = sorted(inf if step is None else step for step in steps)
    middle = late[len(late) // 2]
    return f"{'not yet' if middle == inf else middle}\n{', '.join(each)}"


def budget_row(result: Mapping[str, Any], name: str) -> list[str]:
    axes = result["budget"].values()
    return [name, *(f"{amount(axis['of'][name])}\n{axis['deviation'][name]:+.1%}" for axis in axes)]


def amount(number: float) -> str:
    """1,444,321; 46.9 T; 55.8."""
    for unit, size in LARGE:
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number:,.0f}" if number >= 1000 or number == int(number) else f"{number:.3g}"


def difference(arm: str, lines: Sequence[str]) -> str:
    return f"<details><summary>{escape(arm)}</summary><pre>{escape(chr(10).join(lines))}</pre></details>"
