"""A scene of one or two coloured objects: drawn from an index, worth the same picture and words on every machine."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")

COLOURS = {
    "red": (230, 40, 40),
    "green": (40, 180, 60),
    "blue": (50, 90, 230),
    "yellow": (240, 210, 40),
    "purple": (150, 60, 200),
    "white": (255, 255, 255),
}
SHAPES = ("circle", "square", "triangle")
RADII = {"small": (0.10, 0.13), "large": (0.19, 0.22)}  # of the picture's width, from centre to furthest edge or corner
RELATIONS = ("left of", "right of", "above", "below")
HELD_OUT = frozenset({("green", "circle"), ("yellow", "square"), ("purple", "triangle")})  # in the test split alone
PAIRS = tuple((colour, shape) for colour in COLOURS for shape in SHAPES)
SEEN = tuple(pair for pair in PAIRS if pair not in HELD_OUT)


@dataclass(frozen=True, slots=True)
class Thing:
    """One object; centre and radius as shares of the picture's width."""

    colour: str
    shape: str
    size: str
    x: float
    y: float
    radius: float


@dataclass(frozen=True, slots=True)
class Scene:
    """One thing, or two and where the first lies as seen from the second."""

    things: tuple[Thing, ...]
    relation: str | None = None


class Lot:
    """Draws that are the same on every machine and version: all of them come from random.Random(text).random()."""

    def __init__(self, name: str) -> None:
        self._random = random.Random(name).random

    def between(self, low: float, high: float) -> float:
        return low + (high - low) * self._random()

    def one(self, of: Sequence[T]) -> T:
        return of[int(self._random() * len(of))]


def scene(index: int, objects: int, *, held_out: bool) -> Scene:
    """The scene of this index with one or two objects; held_out: the first of them is a combination never trained on."""
    lot = Lot(f"shapes/{index}/{objects}/{held_out}")
    first = lot.one(sorted(HELD_OUT) if held_out else SEEN)
    if objects == 1:
        return Scene((_alone(lot, first),))
    second = lot.one([pair for pair in (PAIRS if held_out else SEEN) if pair != first])
    pairs = (first, second) if lot.between(0, 1) < 0.5 else (second, first)
    return _apart(lot, pairs, lot.one(RELATIONS))


def _alone(lot: Lot, pair: tuple[str, str]) -> Thing:
    size = lot.one(tuple(RADII))
    radius = lot.between(*RADII[size])
    return Thing(*pair, size, lot.between(radius, 1 - radius), lot.between(radius, 1 - radius), radius)


def _apart(lot: Lot, pairs: Sequence[tuple[str, str]], relation: str) -> Scene:
    """Two things that do not touch, further apart along the relation's axis than across it."""
    sizes = [lot.one(tuple(RADII)) for _ in pairs]
    radii = [lot.between(*RADII[size]) for size in sizes]
    gap = lot.between(0.04, 1 - 2 * sum(radii))
    start = lot.between(0, 1 - 2 * sum(radii) - gap)
    along = [start + radii[0], start + 2 * radii[0] + gap + radii[1]]
    drift = 0.4 * (along[1] - along[0])
    middle = [lot.between(radius, 1 - radius) for radius in radii]
    across = _near(middle, radii, drift)
    if relation in ("right of", "below"):
        along = [1 - place for place in along]
    places = zip(along, across, strict=True) if relation in ("left of", "right of") else zip(across, along, strict=True)
    things = tuple(
        Thing(*pair, size, x, y, radius) for pair, size, (x, y), radius in zip(pairs, sizes, places, radii, strict=True)
    )
    return Scene(things, relation)


def _near(places: Sequence[float], radii: Sequence[float], drift: float) -> list[float]:
    """Two places across, at most `drift` apart: the second is drawn towards the first, and stays in the picture."""
    first, second = places
    second = min(max(second, first - drift), first + drift)
    return [first, min(max(second, radii[1]), 1 - radii[1])]
