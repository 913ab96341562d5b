"""curves: scores over guidance scales and losses over steps, each as one SVG: a line an arm, with a band where its mean lies.

The band is Student's 95 % interval of the mean over seeds, as in the verdict; where it leaves the sheet, it is cut off.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from statistics import fmean, stdev
from typing import Any

from cdkit.compare.verdict import student

WIDTH, HEIGHT, MARGIN = 560, 280, 64
FEW = 20  # points that are dots too
MARKS = 6  # scales that are all written under the axis; of more, round numbers are
CONFIDENCE = 0.95
BEYOND = 0.25  # of the values' span: what a band adds to the sheet on either side at most


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
    places = sorted({place for line in points.values() for place, _ in line})
    values = [value for line in points.values() for _, seeds in line for value in seeds]
    bent = logarithmic and min(values) > 0
    frame = Frame((places[0], places[-1]), (min(values), max(values)) if bent else roomy(points, values), logarithmic=bent)
    drawn = "".join(line(number, len(points), found, frame) for number, found in enumerate(points.values()))
    ends = "; ".join(f"{arm} ends at {fmean(found[-1][1]):.3g}" for arm, found in points.items())
    told = escape(f"{figure} over {across}, {min(values):.3g} to {max(values):.3g}: {ends}", quote=True)
    axes = frame.axes(figure, across, places if len(places) <= MARKS else ticks(places[0], places[-1]))
    svg = f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{told}">{axes}{drawn}</svg>'
    names = "".join(
        f"<li><span style='background:{colour(number, len(points))}'></span>{escape(arm)}</li>"
        for number, arm in enumerate(points)
    )
    return f"{svg}<ul class='key'>{names}</ul>"


def roomy(points: Mapping[str, Points], values: Sequence[float]) -> tuple[float, float]:
    """From the least to the most of what is shown, bands included as far as they leave room for the lines."""
    low, high = min(values), max(values)
    ends = [end for line in points.values() for _, seeds in line for end in band(seeds)]
    room = BEYOND * (high - low)
    return max(min(ends), low - room), min(max(ends), high + room)


def band(values: Sequence[float]) -> tuple[float, float]:
    """Where the mean of seeds lies with 95 % confidence; of one seed nobody knows, and the band is the line."""
    mean, count = fmean(values), len(values)
    half = student(CONFIDENCE, count - 1) * stdev(values) / math.sqrt(count) if count > 1 else 0.0
    return mean - half, mean + half


def ticks(low: float, high: float, *, count: int = 4) -> list[float]:
    """About so many round numbers from low to high: multiples of 1, 2 or 5 times a power of ten; none where the two are one."""
    if high <= low:
        return []
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(step for step in (power, 2 * power, 5 * power, 10 * power) if step >= rough * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [float(f"{number * step:.10g}") for number in range(first, last + 1)]


def decades(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten from low to high, both above 0."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    found = [float(f"{digit}e{power}") for power in powers for digit in (1, 2, 5)]
    return [value for value in found if low <= value <= high]


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
        self.levels = (decades if logarithmic else ticks)(*values)

    def x(self, scale: float) -> float:
        width = WIDTH - 2 * MARGIN
        return MARGIN + width * ((scale - self.left) / (self.right - self.left) if self.right > self.left else 0.5)

    def y(self, value: float) -> float:
        """A value beyond the sheet lies on its edge."""
        low, high, at = self.bent(self.low), self.bent(self.high), self.bent(min(max(value, self.low), self.high))
        share = (at - low) / (high - low) if high > low else 0.5
        return HEIGHT - MARGIN - (HEIGHT - 2 * MARGIN) * share

    def axes(self, figure: str, across: str, places: Sequence[float]) -> str:
        """The axes' names, and numbers at these places and at round levels, or at the ends where no level is round."""
        bottom, end = HEIGHT - MARGIN + 8, WIDTH - MARGIN + 8
        marks = "".join(
            f"<text x='{self.x(place):.0f}' y='{bottom + 18}' text-anchor='middle'>{place:g}</text>" for place in places
        )
        levels = self.levels if len(self.levels) > 1 else list(dict.fromkeys((self.low, self.high)))
        return (
            f"<path d='M{MARGIN} {MARGIN - 8}V{bottom}H{end}' fill='none' stroke='currentColor' opacity='.4'/>{marks}"
            f"{''.join(map(self.level, levels))}<text x='{MARGIN}' y='{MARGIN - 24}'>{escape(figure)}</text>"
            f"<text x='{WIDTH / 2:g}' y='{bottom + 42}' text-anchor='middle'>{escape(across)}</text>"
        )

    def level(self, value: float) -> str:
        """A number beside the sheet, and a faint line across it."""
        y = self.y(value)
        return (
            f"<text x='{MARGIN - 8}' y='{y + 4:.0f}' text-anchor='end'>{value:.3g}</text>"
            f"<path d='M{MARGIN} {y:.1f}H{WIDTH - MARGIN + 8}' stroke='currentColor' opacity='.12'/>"
        )


def line(number: int, count: int, points: Points, frame: Frame) -> str:
    """One arm: the mean of its seeds, and the band; an arm of one point has a bar for a band."""
    ink = colour(number, count)
    means = [(frame.x(place), frame.y(fmean(seeds))) for place, seeds in points]
    bands = [band(seeds) for _, seeds in points]
    if len(points) == 1:
        (x, y), (low, high) = means[0], bands[0]
        x += 8 * (number - (count - 1) / 2) if frame.left == frame.right else 0  # beside each other
        bar = f"<path d='M{x:.1f} {frame.y(low):.1f}V{frame.y(high):.1f}' stroke='{ink}' stroke-width='3' opacity='.4'/>"
        return f"{bar}<circle cx='{x:.1f}' cy='{y:.1f}' r='4' fill='{ink}'/>"
    upper = [f"{x:.1f},{frame.y(high):.1f}" for (x, _), (_, high) in zip(means, bands, strict=True)]
    lower = [f"{x:.1f},{frame.y(low):.1f}" for (x, _), (low, _) in zip(means, bands, strict=True)]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in means)
    seen = means if len(means) <= FEW else []
    dots = "".join(f"<circle cx='{x:.1f}' cy='{y:.1f}' r='4' fill='{ink}'/>" for x, y in seen)
    shape = f"<polygon points='{' '.join([*upper, *reversed(lower)])}' fill='{ink}' opacity='.18'/>"
    return f"{shape}<polyline points='{path}' fill='none' stroke='{ink}' stroke-width='2'/>{dots}"
