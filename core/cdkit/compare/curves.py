"""curves: something over something as one SVG, a line an arm with the band of its seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from statistics import fmean
from typing import TypeAlias

WIDTH, HEIGHT, MARGIN = 640, 280, 48
Points: TypeAlias = Sequence[tuple[float, Sequence[float]]]
"""Where, and a value a seed."""


def curves(lines: Mapping[str, Points], over: str, figure: str) -> str:
    """A line for each arm, over what and of what in words. "" where there is nothing to draw."""
    places = [place for points in lines.values() for place, _ in points]
    values = [value for points in lines.values() for _, seeds in points for value in seeds]
    if not values:
        return ""
    frame = Frame((min(places), max(places)), (min(values), max(values)))
    drawn = "".join(line(arm, number, len(lines), points, frame) for number, (arm, points) in enumerate(lines.items()) if points)
    told = f"{escape(figure)} over {escape(over)}, {frame.low:.3g} to {frame.high:.3g}"
    return f"<svg viewBox='0 0 {WIDTH} {HEIGHT}' role='img' aria-label='{told}'>{frame.axes(over, figure)}{drawn}</svg>"


def guided(choices: Mapping[str, Sequence[float]]) -> Points:
    """By choice ("1.5", or "1.5-0.1" with a length of the average) -> scale by scale, the values of the best length.

    An arm that cannot be guided is a dot at no guidance, which is a scale of 1.
    """
    found: dict[float, Sequence[float]] = {}
    for choice, values in choices.items():
        scale = at(choice.partition("-")[0])
        if scale not in found or fmean(values) > fmean(found[scale]):
            found[scale] = values
    return sorted(found.items())


def at(scale: str) -> float:
    return 1.0 if scale == "None" else float(scale)


class Frame:
    """Where a place and a value lie on the sheet."""

    def __init__(self, places: tuple[float, float], values: tuple[float, float]) -> None:
        self.left, self.right = places
        self.low, self.high = values

    def x(self, place: float) -> float:
        width = WIDTH - 4 * MARGIN
        return MARGIN + width * ((place - self.left) / (self.right - self.left) if self.right > self.left else 0.5)

    def y(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low) if self.high > self.low else 0.5
        return HEIGHT - MARGIN - (HEIGHT - 2 * MARGIN) * share

    def axes(self, over: str, figure: str) -> str:
        bottom, end = HEIGHT - MARGIN + 8, WIDTH - 3 * MARGIN
        ticks = "".join(
            f"<text x='{self.x(place):.0f}' y='{bottom + 16}' text-anchor='middle'>{place:g}</text>"
            for place in dict.fromkeys((self.left, self.right))
        )
        levels = "".join(
            f"<text x='{MARGIN - 8}' y='{self.y(value) + 4:.0f}' text-anchor='end'>{value:.3g}</text>"
            for value in dict.fromkeys((self.low, self.high))
        )
        return (
            f"<path d='M{MARGIN} {MARGIN - 8}V{bottom}H{end}' fill='none' stroke='currentColor' opacity='.4'/>{ticks}{levels}"
            f"<text x='{MARGIN}' y='20'>{escape(figure)}</text>"
            f"<text x='{end}' y='{bottom + 32}' text-anchor='end'>{escape(over)}</text>"
        )


def line(arm: str, number: int, count: int, points: Points, frame: Frame) -> str:
    """One arm: the mean of its seeds, the band from the least to the most of them, and its name at the end."""
    colour = f"hsl({360 * number / count:.0f} 65% 50%)"
    means = [(frame.x(place), frame.y(fmean(seeds))) for place, seeds in points]
    upper = [f"{frame.x(place):.1f},{frame.y(max(seeds)):.1f}" for place, seeds in points]
    lower = [f"{frame.x(place):.1f},{frame.y(min(seeds)):.1f}" for place, seeds in reversed(points)]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in means)
    dots = "".join(f"<circle cx='{x:.1f}' cy='{y:.1f}' r='3' fill='{colour}'/>" for x, y in means) if len(means) < 12 else ""
    name = f"<text x='{WIDTH - 3 * MARGIN + 12}' y='{MARGIN + 18 * number}'>{escape(arm)}</text>"
    key = f"<rect x='{WIDTH - 3 * MARGIN - 2}' y='{MARGIN + 18 * number - 9}' width='10' height='10' fill='{colour}'/>"
    band = f"<polygon points='{' '.join([*upper, *lower])}' fill='{colour}' opacity='.18'/>"
    return f"{band}<polyline points='{path}' fill='none' stroke='{colour}' stroke-width='2'/>{dots}{key}{name}"
