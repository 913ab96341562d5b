"""report: a comparison as one HTML file that opens from disk, asks no network, and reads on a phone, in light and dark."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from statistics import fmean
from string import Template
from typing import Any

from cdkit.compare.arms import UNLIKE
from cdkit.compare.curves import curves, training
from cdkit.compare.embed import ROOM, data
from cdkit.compare.maps import words
from cdkit.compare.read import IN_WORDS
from cdkit.compare.words import interval, sentence

NO_COMMAND = "made by a program, without a command"
TONES = {"better": "good", "worse": "bad", "cannot tell": "unsure"}


def report(result: Mapping[str, Any], folder: Path) -> str:
    """The page. folder: where the comparison lies, for its pictures."""
    page = Template(files("cdkit.compare").joinpath("page.html").read_text(encoding="utf-8"))
    arms: Mapping[str, Any] = result["arms"]
    return page.substitute(
        title=escape(f"{result['comparison']}: which way of telling works best?"),
        about=escape(about(result)),
        verdicts="".join(item(result, arm) for arm in arms if arm != result["reference"]),
        confidence=escape(confidence(result)),
        slider=slider(result),
        scores=rows(["arm", *heads(result)], (score_row(result, arm) for arm in arms)),
        curves=curves({name: arm["validation"] for name, arm in arms.items()}, str(result["figure"])),
        groups=grouped(result),
        prices=rows(price_heads(result), (price_row(name, arm) for name, arm in arms.items())),
        match=escape(matched(result)),
        budget=rows(["arm", *result["budget"]], (budget_row(result, arm) for arm in arms)),
        differences="".join(difference(arm, lines) for arm, lines in result["differences"].items()),
        pictures=figures({name: arm["pictures"] for name, arm in arms.items()}, folder),
        command=escape(result.get("command", NO_COMMAND)),
        training=training({name: arm["losses"] for name, arm in arms.items()}),
        words=words({name: arm["words"] for name, arm in arms.items()}, folder),
        licences=rows(["taken", "licence"], ([part, licence or "not stated"] for part, licence in result["licences"].items())),
        fairness=escape(fairness(result)),
    )


def about(result: Mapping[str, Any]) -> str:
    seeds = len(result["seeds"])
    return f"{len(result['arms'])} arms, {seeds} seeds each, on {result['machine']}, {result['date']}, cdkit {result['cdkit']}."


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
    scores = [f"{use} (seed by seed)" for use in result["verdicts"]]
    return [*scores, "beside the reference", "guidance", "average", *(["heard after steps"] if hears(result) else [])]


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
    return "not measured on a CPU" if size is None else f"{size / 2**20:,.0f} MiB"


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
    """The mean of the seeds, and each of them."""
    return f"{fmean(values):.4g} ({', '.join(f'{value:.4g}' for value in values)})"


def steps_heard(steps: Sequence[int | None]) -> str:
    """After how many steps of each seed; an arm that is told nothing hears nothing."""
    return ", ".join("not yet" if step is None else str(step) for step in steps) or "nothing is said"


def budget_row(result: Mapping[str, Any], name: str) -> list[str]:
    axes = result["budget"].values()
    return [name, *(f"{axis['of'][name]:.4g} ({axis['deviation'][name]:+.1%})" for axis in axes)]


def rows(head: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    """A table."""
    top = "".join(f"<th scope='col'>{escape(cell)}</th>" for cell in head)
    lines = ("".join(f"<td>{escape(cell)}</td>" for cell in row) for row in body)
    return f"<table><thead><tr>{top}</tr></thead><tbody>{''.join(f'<tr>{line}</tr>' for line in lines)}</tbody></table>"


def slider(result: Mapping[str, Any]) -> str:
    """Two arms, one over the other, and a handle between them."""
    names = list(result["arms"])
    other = next(name for name in names if name != result["reference"])
    return (
        f"<div class='controls'><label>left {choice('left', names, result['reference'])}</label>"
        f"<label>right {choice('right', names, other)}</label>"
        "<label>where they meet <input id='top' type='range' min='0' max='100' value='50'></label></div>"
        "<div class='pair'><img id='under' alt=''><img id='over' alt=''></div>"
    )


def choice(name: str, options: Sequence[str], chosen: str) -> str:
    made = "".join(f"<option{' selected' if option == chosen else ''}>{escape(option)}</option>" for option in options)
    return f"<select id='{name}'>{made}</select>"


def figures(pictures: Mapping[str, Sequence[str]], folder: Path) -> str:
    """Every arm's pictures, which share the room that there is."""
    room = ROOM // sum(len(paths) for paths in pictures.values())
    return "".join(figure(name, paths, folder, room) for name, paths in pictures.items())


def figure(name: str, paths: Sequence[str], folder: Path, room: int) -> str:
    """An arm's pictures, in the page itself."""
    names = [f"picture-{escape(name)}{f'-{number}' if number else ''}" for number in range(len(paths))]
    pictures = [data(folder / path, room) for path in paths]
    shown = [f"<img id='{key}' alt='{escape(name)}' src='{held}'>" for key, held in zip(names, pictures, strict=True)]
    return f"<figure>{''.join(shown)}<figcaption>{escape(name)}</figcaption></figure>"


def difference(arm: str, lines: Sequence[str]) -> str:
    return f"<details><summary>{escape(arm)}</summary><pre>{escape(chr(10).join(lines))}</pre></details>"
