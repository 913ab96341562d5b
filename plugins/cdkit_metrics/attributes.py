"""attributes: of pictures with several things, is each as it was said to be? Attribute by attribute, and bound to one thing.

"A red circle left of a blue square" can be drawn wrong in many ways: a colour that is missing, colours that are exchanged, the
square on the left. A reader that learned from real pictures says what each thing is, and every attribute is counted alone, two
on one thing, and all together. Scenes with a thing whose attributes no training picture has together (`unseen`) stand apart
from the others (`seen`). Beside each share stands what the reader finds in the real pictures, and `unheard`: what it would be
if every picture were another's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, ClassVar, Literal

from cdkit.hooks import hookimpl
from cdkit.parts import Examinee, Example, Metric, Positive

from cdkit_metrics.drawing import drawn
from cdkit_metrics.evaluator import images_of
from cdkit_metrics.hashing import picture_seeds, shuffled
from cdkit_metrics.intervals import Share, share_of
from cdkit_metrics.scene_reader import halves, reader_of
from cdkit_metrics.scenes import NONE, Layout, Scene, Thing, trained_pairs
from cdkit_metrics.words import told_first

SEEN, UNSEEN = "seen", "unseen"
Split = Literal["train", "validation", "test"]


@dataclass(frozen=True, kw_only=True)
class Attributes(Metric):
    """Tells each picture's first caption, which says all of its things, and has a reader say what was drawn.

    Where a split holds nothing but unseen combinations, as many pictures of the validation split are told too: `seen`.

    pictures: of a split, at most. epochs: of the reader's lesson; null suits the set. language, seed, split, batch: as for
    said_drawn.
    """

    figure: ClassVar[str] = "drawn"
    by: ClassVar[str] = "pictures"
    groups: ClassVar[str] = "kinds"

    pictures: Positive = 1000
    language: str = "en"
    seed: int = 0
    split: Literal["validation", "test"] = "test"
    batch: Positive = 500
    epochs: Positive | None = None

    def __call__(self, examinee: Examinee) -> Mapping[str, Any]:
        """`drawn`: the share of the split's pictures in which all is as it was said; `kinds`: the same of seen and unseen ones.

        `attributes`, `real` and `unheard`, by kind: shares of things, and, of `relation`, of pictures. `pictures`: which.
        """
        reader = reader_of(examinee, epochs=self.epochs)
        asked, kinds, own = self._asked(examinee, reader.layout)
        seeds = picture_seeds(self.seed, self.split, len(asked))
        values = told_first(asked, self.language)
        said = [reader.layout.scene(example) for example in asked]
        made = reader.read(drawn(examinee, values, seeds, batch=self.batch, what=f"attributes ({self.language})"))
        real = reader.read(images_of(asked))
        right = [one == other for one, other in zip(said, made, strict=True)]
        found: dict[str, dict[str, Any]] = {"kinds": {}, "attributes": {}, "real": {}, "unheard": {}}
        for kind in sorted(set(kinds)):
            places = [place for place, of in enumerate(kinds) if of == kind]
            found["kinds"][kind] = share_of(right[place] for place in places).report()
            for name, seen in {"attributes": made, "real": real, "unheard": _moved(made, places)}.items():
                shares = compared(reader.layout, [said[place] for place in places], [seen[place] for place in places])
                found[name][kind] = {key: share.report() for key, share in shares.items()}
        return {
            "drawn": share_of(right[:own]).report(),
            **found,
            "pictures": {example.id: int(well) for example, well in zip(asked[:own], right[:own], strict=True)},
            "split": self.split,
            "language": self.language,
            "seeds": [seeds[0], seeds[-1]],
        }

    def _asked(self, examinee: Examinee, layout: Layout) -> tuple[list[Example], list[str], int]:
        """The pictures, of which kind each is, and how many of them are the split's own: those come first."""
        trained = trained_pairs(layout, examinee.dataset.split("train"))

        def kind(example: Example) -> str:
            return SEEN if layout.pairs(layout.scene(example)) <= trained else UNSEEN

        asked = self._of(examinee, self.split)
        own, kinds = len(asked), [kind(example) for example in asked]
        if SEEN not in kinds:
            more = [example for example in self._of(examinee, "validation") if kind(example) == SEEN]
            asked, kinds = asked + more, kinds + [SEEN] * len(more)
        return asked, kinds, own

    def _of(self, examinee: Examinee, split: Split) -> list[Example]:
        """Of the test split, the half that the reader did not learn."""
        whole = examinee.dataset.split(split)
        examples = {example.id: example for example in (halves(whole)[1] if split == "test" else whole)}
        return [examples[name] for name in shuffled(list(examples), "attributes", self.seed)[: self.pictures]]


def compared(layout: Layout, said: Sequence[Scene], seen: Sequence[Scene]) -> dict[str, Share]:
    """Of the things that were said, whatever their order: how many are there by each attribute, and by several on one thing.

    `relation`, where a set has it: of the pictures of two things, in how many they lie as was said, the right one first.
    """
    shares: dict[str, Share] = {}
    for places in _subsets(len(layout.attributes)):
        wanted = [_bound(scene, places) for scene in said]
        there = [_bound(scene, places) for scene in seen]
        hits = sum((one & other).total() for one, other in zip(wanted, there, strict=True))
        shares[" + ".join(layout.attributes[place] for place in places)] = Share(hits, sum(one.total() for one in wanted))
    if layout.related:
        told = [(one, other) for one, other in zip(said, seen, strict=True) if one.relation != NONE]
        shares["relation"] = share_of(lies_right(one, other) for one, other in told)
    return shares


def _subsets(n: int) -> Iterator[tuple[int, ...]]:
    """Each of n alone, every two, … all of them."""
    return (places for size in range(1, n + 1) for places in combinations(range(n), size))


def _bound(scene: Scene, places: Sequence[int]) -> Counter[tuple[str, ...]]:
    """The values at these places among the attributes, thing by thing."""
    return Counter(tuple(thing[place] for place in places) for thing in scene.there)


def lies_right(said: Scene, seen: Scene) -> bool:
    """Does the axis agree, and do the things agree better in this order than exchanged?"""
    straight = _agreement(said.things[:2], seen.things[:2])
    return seen.relation == said.relation and straight > _agreement(said.things[:2], seen.things[1::-1])


def _agreement(said: Sequence[Thing], seen: Sequence[Thing]) -> int:
    """How many attributes are the same, thing by thing."""
    return sum(one == other for ours, theirs in zip(said, seen, strict=True) for one, other in zip(ours, theirs, strict=True))


def _moved(scenes: Sequence[Scene], places: Sequence[int]) -> dict[int, Scene]:
    """Each of these places with the scene of the next of them."""
    return {place: scenes[after] for place, after in zip(places, (*places[1:], places[0]), strict=True)}


@hookimpl
def cdkit_metric() -> type[Attributes]:
    return Attributes
