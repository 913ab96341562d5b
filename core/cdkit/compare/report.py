"""report: a comparison as one HTML file that opens from disk, asks no network, and reads on a phone, in light and dark."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from statistics import fmean
from string import Template
from typing import Any

from cdkit.compare.curves import curves
from cdkit.compare.words import interval, sentence

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
        prices=rows(PRICE, (price_row(name, arm) for name, arm in arms.items())),
        match=escape(str(result["match"])),
        budget=rows(["arm", *result["budget"]], (budget_row(result, arm) for arm in arms)),
        differences="".join(difference(arm, lines) for arm, lines in result["differences"].items()),
        pictures="".join(figure(name, arm["pictures"], folder) for name, arm in arms.items()),
        command=escape(result.get("command") or f"cdkit compare specs/compare/{result['comparison']}.yaml"),
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
    births = ", ".join(f"seed {seed}: {digest[:12]}" for seed, digest in result["births"].items())
    loud = "as it was made" if result["init"] == "zero" else "scaled until all spoke alike"
    return (
        f"At birth every method was {loud}. The arms' backbones were bit-equal at birth (sha256 "
        + births
        + "). Data order, times, noise and silences are keyed by seed, "
        "picture and step. Guidance and average of each arm were chosen on the validation split; scores are of the test split."
    )


def heads(result: Mapping[str, Any]) -> list[str]:
    return [f"{use} (seed by seed)" for use in result["verdicts"]] + ["beside the reference", "guidance", "average"]


def score_row(result: Mapping[str, Any], name: str) -> list[str]:
    arm = result["arms"][name]
    scores = [f"{fmean(values):.4g} ({', '.join(f'{value:.4g}' for value in values)})" for values in arm["scores"].values()]
    found = result["verdicts"][result["score"]].get(name)
    scale = "none" if arm["guidance"] is None else f"{arm['guidance']:g}"
    average = "the spec's" if arm["ema"] is None else f"{arm['ema']:g}"
    return [name, *scores, interval(found) if found else "the reference", scale, average]


PRICE = ["arm", "parameters", "of the method", "MACs a step", "MACs once a prompt", "ms a training step"]


def price_row(name: str, arm: Mapping[str, Any]) -> list[str]:
    price = arm["price"]
    counts = [f"{price[key]:,}" for key in ("parameters", "taps", "forward", "prepare")]
    return [name, *counts, f"{1000 * arm['seconds']['step']:.1f}"]


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


def figure(name: str, paths: Sequence[str], folder: Path) -> str:
    """An arm's pictures, in the page itself."""
    shown = [
        f"<img id='picture-{escape(name)}{'' if number == 0 else f'-{number}'}' alt='{escape(name)}' src='{data(folder / path)}'>"
        for number, path in enumerate(paths)
    ]
    return f"<figure>{''.join(shown)}<figcaption>{escape(name)}</figcaption></figure>"


def data(path: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()


def difference(arm: str, lines: Sequence[str]) -> str:
    return f"<details><summary>{escape(arm)}</summary><pre>{escape(chr(10).join(lines))}</pre></details>"
