"""curves: scores over guidance scales and losses over steps, each as one SVG, a line an arm with the band of its seeds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from statistics import fmean
from typing import Any

WIDTH, HEIGHT, MARGIN = 560, 280, 64
FEW = 20  # points that are dots too


Points = Sequence[tuple[float, Sequence[float]]]  # from left to right, the values of an arm's seeds


def curves(validation: Mapping[str, Mapping[str, Sequence[float]]], figure: str) -> str:
    """Scores over guidance. By arm, by choice ("1.5", or "1.5-0.1" with a length of the average), a value a seed: of each
    scale the best length. An arm that cannot be guided is a dot at no guidance, which is a scale of 1.
    """
    return sheet({arm: along(choices) for arm, choices in validation.items()}, figure, "guidance")


def training(losses: Mapping[str, Mapping[str, Any]]) -> str:
    """Losses over steps, of every arm as `losses` found them; the axis of losses is logarithmic."""
    points = {
        arm: [(float(step), values) for step, *values in zip(found["steps"], *found["seeds"], strict=True)]
        for arm, found in losses.items()
    }
    return sheet(points, "loss", "steps", logarithmic=True)


def sheet(points: Mapping[str, Points], figure: str, across: str, *, logarithmic: bool = False) -> str:
    """Every arm's points as an SVG with its key. figure, across: what the axes are of."""
    places = [place for line in points.values() for place, _ in line]
    values = [value for line in points.values() for _, seeds in line for value in seeds]
    frame = Frame((min(places), max(places)), (min(values), max(values)), logarithmic=logarithmic and min(values) > 0)
    drawn = "".join(line(number, len(points), found, frame) for number, found in enumerate(points.values()))
    ends = "; ".join(f"{arm} ends at {fmean(found[-1][1]):.3g}" for arm, found in points.items())
    told = escape(f"{figure} over {across}, {frame.low:.3g} to {frame.high:.3g}: {ends}", quote=True)
    svg = f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{told}">{frame.axes(figure, across)}{drawn}</svg>'
    names = "".join(
        f"<li><span style='background:{colour(number, len(points))}'></span>{escape(arm)}</li>"
        for number, arm in enumerate(points)
    )
    return f"{svg}<ul class='key'>{names}</ul>"


def colour(number: int, count: int) -> str:
    return f"hsl({360 * number / count:.0f} 65% 50%)"


def along(choices: Mapping[str, Sequence[float]]) -> list[tuple[float, Sequence[float]]]:
    """Scale by scale, the values of the length whose mean is the largest."""
    found: dict[float, Sequence[float]] = {}
    for choice, values in choices.items():
        scale = at(choice.partition("-")[0])
        if scale not in found or fmean(values) > fmean(found[scale]):
            found[scale] = values
    return sorted(found.items())


def at(scale: str) -> float:
    return 1.0 if scale == "None" else float(scale)


class Frame:
    """Where a place on the axis across (a scale, a step) and a value lie on the sheet."""

    def __init__(self, scales: tuple[float, float], values: tuple[float, float], *, logarithmic: bool = False) -> None:
        self.left, self.right = scales
        self.low, self.high = values
        self.bent = math.log if logarithmic else float

    def x(self, scale: float) -> float:
        width = WIDTH - 2 * MARGIN
        return MARGIN + width * ((scale - self.left) / (self.right - self.left) if self.right > self.left else 0.5)

    def y(self, value: float) -> float:
        low, high = self.bent(self.low), self.bent(self.high)
        share = (self.bent(value) - low) / (high - low) if high > low else 0.5
        return HEIGHT - MARGIN - (HEIGHT - 2 * MARGIN) * share

    def axes(self, figure: str, across: str) -> str:
        bottom, end = HEIGHT - MARGIN + 8, WIDTH - MARGIN + 8
        ticks = "".join(
            f"<text x='{self.x(scale):.0f}' y='{bottom + 18}' text-anchor='middle'>{scale:g}</text>"
            for scale in dict.fromkeys((self.left, self.right))
        )
        levels = "".join(
            f"<text x='{MARGIN - 8}' y='{self.y(value) + 4:.0f}' text-anchor='end'>{value:.3g}</text>"
            for value in dict.fromkeys((self.low, self.high))
        )
        return (
            f"<path d='M{MARGIN} {MARGIN - 8}V{bottom}H{end}' fill='none' stroke='currentColor' opacity='.4'/>{ticks}{levels}"
            f"<text x='{MARGIN}' y='20'>{escape(figure)}</text>"
            f"<text x='{WIDTH / 2:g}' y='{bottom + 18}' text-anchor='middle'>{escape(across)}</text>"
        )


def line(number: int, count: int, points: Points, frame: Frame) -> str:
    """One arm: the mean of its seeds, and the band from the least to the most of them."""
    ink = colour(number, count)
    means = [(frame.x(place), frame.y(fmean(seeds))) for place, seeds in points]
    upper = [f"{frame.x(place):.1f},{frame.y(max(seeds)):.1f}" for place, seeds in points]
    lower = [f"{frame.x(place):.1f},{frame.y(min(seeds)):.1f}" for place, seeds in reversed(points)]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in means)
    seen = means if len(means) <= FEW else []
    dots = "".join(f"<circle cx='{x:.1f}' cy='{y:.1f}' r='4' fill='{ink}'/>" for x, y in seen)
    band = f"<polygon points='{' '.join([*upper, *lower])}' fill='{ink}' opacity='.18'/>"
    return f"{band}<polyline points='{path}' fill='none' stroke='{ink}' stroke-width='2'/>{dots}"
