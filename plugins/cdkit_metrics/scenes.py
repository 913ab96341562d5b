"""Scenes: what is true of a picture thing by thing, out of columns such as `colour.1`, `shape.1`, `colour.2` and `relation`.

Two things and how the first lies from the second can be told in two ways, and no picture says in which: a scene is always told
from the left or from above here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple, TypeAlias

from cdkit.parts import DataError, Dataset, Example

NONE = "none"  # what such a column says of a thing that is not there
RELATION = "relation"
SEEN_FROM = {"right of": "left of", "below": "above"}  # how the second lies from the first
COLUMN = re.compile(r"(\w+)\.(\d+)")

Thing: TypeAlias = tuple[str, ...]  # a value for each of the layout's attributes; all of them NONE: it is not there
Bound: TypeAlias = tuple[tuple[str, str], ...]  # attributes with their values, on one thing


class Scene(NamedTuple):
    """Things in a fixed order, those that are not there last, and how the first lies from the second."""

    things: tuple[Thing, ...]
    relation: str

    @property
    def there(self) -> tuple[Thing, ...]:
        return tuple(thing for thing in self.things if any(value != NONE for value in thing))


@dataclass(frozen=True, slots=True)
class Layout:
    """What a set says of each of its things, and of how many at most."""

    attributes: tuple[str, ...]
    places: int
    related: bool

    def scene(self, example: Example) -> Scene:
        """What is true of the example, in the order that the picture itself decides."""
        things = tuple(
            tuple(str(example.values[f"{attribute}.{place}"][0]) for attribute in self.attributes)
            for place in range(1, self.places + 1)
        )
        relation = str(example.values[RELATION][0]) if self.related else NONE
        if relation == NONE:
            return Scene(tuple(sorted(things, key=lambda thing: (NONE in thing, thing))), NONE)
        return (
            Scene((things[1], things[0], *things[2:]), SEEN_FROM[relation]) if relation in SEEN_FROM else Scene(things, relation)
        )

    def pairs(self, scene: Scene) -> set[Bound]:
        """Every two attributes that one thing has together."""
        told = (tuple(zip(self.attributes, thing, strict=True)) for thing in scene.there)
        return {pair for thing in told for pair in combinations(thing, 2)}


def layout_of(dataset: Dataset) -> Layout:
    """DataError for a set that does not say what each thing is."""
    found = [match for column in dataset.columns if (match := COLUMN.fullmatch(column))]
    attributes = tuple(dict.fromkeys(match[1] for match in found))
    places = max((int(match[2]) for match in found), default=0)
    missing = [f"{a}.{p}" for a in attributes for p in range(1, places + 1) if f"{a}.{p}" not in dataset.columns]
    if not found or missing:
        wanted = f"misses {', '.join(missing)}" if missing else "has no columns such as colour.1 and shape.1"
        raise DataError(
            f"{type(dataset).__name__} {wanted}, so nothing can say what each thing in a picture is; it has "
            f"{', '.join(dataset.columns)}",
            hint="score it by `said_drawn` or `identification`",
        )
    return Layout(attributes, places, RELATION in dataset.columns)


def trained_pairs(layout: Layout, examples: Iterable[Example]) -> frozenset[Bound]:
    """Every two attributes that a thing of these examples has together."""
    return frozenset(pair for example in examples for pair in layout.pairs(layout.scene(example)))
