"""pointing: do the maps of where a word acts point at the thing that it names? Asked where masks say what lies where.

The pointing game (Zhang et al. 2018, "Top-down Neural Attention by Excitation Backprop", arXiv 1608.00507): a map is right if
its largest value lies on the thing. Two maps are asked: what leaving the words out changes, and attention to them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from cdkit.hooks import hookimpl
from cdkit.parts import Acting, DataError, Examinee, Example, Metric, Positive
from torch import Tensor
from torch.nn import functional as F

from cdkit_metrics.hashing import number, shuffled
from cdkit_metrics.intervals import share_of
from cdkit_metrics.scenes import NONE, Layout, layout_of
from cdkit_metrics.words import told_first

MASK = "mask"  # the column of a tensor (things, H, W) in [0, 1]
COVERED = 0.5  # of a pixel: less of it is not the thing
BESIDE = 15 / 224  # of a picture's width: what the published game lets a map miss a thing by


@dataclass(frozen=True, slots=True)
class Named:
    """A thing that a caption names: which words do, and where it lies (H, W) bool; `near` is that and what is close by."""

    words: tuple[int, ...]
    mask: Tensor
    near: Tensor


@dataclass(frozen=True, slots=True)
class Asked:
    """One thing, one kind of map: was it right over all levels, was it nearly, and at each level from much noise to little?"""

    right: bool
    nearly: bool
    levels: tuple[bool, ...]


@dataclass(frozen=True, kw_only=True)
class Pointing(Metric):
    """Asks of things in real pictures whether the maps of the words that name them point at them.

    A thing is named by the words that stand together and say its attributes ("red circle"); their maps are added. Things of
    which the caption says the same are left out. The noise levels' maps are added too, each on a scale of its own, since much
    noise moves a picture more; `levels` has each by itself.
    pictures: asked about. split, language: of them and their captions. seed: of which pictures, and of their noise.
    """

    figure: ClassVar[str] = "influence"

    pictures: Positive = 100
    language: str = "en"
    split: Literal["validation", "test"] = "test"
    seed: int = 0

    def __call__(self, examinee: Examinee) -> Mapping[str, Any]:
        """`influence`, `attention`: shares of things pointed at. `near`: of those within 15 / 224 of the picture's width, as the
        published game counts. `chance`: the share of a picture that a thing covers.
        """
        layout = masked(examinee)
        asked = chosen(examinee.dataset.split(self.split), self.pictures, self.seed)
        found: dict[str, list[Asked]] = {}
        covered: list[float] = []
        for turn, example in enumerate(asked, 1):
            values = told_first([example], self.language)
            acting = examinee.acting(example.image, values, number(self.seed, example.id))
            for thing in named(layout, example, acting.words):
                covered.append(float(thing.mask.float().mean()))
                for way, maps in ways(acting).items():
                    found.setdefault(way, []).append(judged(maps[list(thing.words)].sum(dim=0), thing))
            if turn % 20 == 0 or turn == len(asked):
                examinee.say(f"pointing: {turn} of {len(asked)} pictures asked about")
        if not covered:
            raise DataError("pointing: no caption names a thing by words that stand together", hint="ask in another language")
        return {
            **{way: share_of(one.right for one in rows).report() for way, rows in found.items()},
            "near": {way: share_of(one.nearly for one in rows).report() for way, rows in found.items()},
            "levels": {way: by_level(rows) for way, rows in found.items()},
            "chance": sum(covered) / len(covered),
            "split": self.split,
            "language": self.language,
        }


def masked(examinee: Examinee) -> Layout:
    """DataError for a set without masks of its things."""
    if MASK not in examinee.dataset.columns:
        raise DataError(
            f"{type(examinee.dataset).__name__} has no column {MASK!r}, so nothing says where a thing lies",
            hint="ask it of `shapes`",
        )
    return layout_of(examinee.dataset)


def chosen(examples: Sequence[Example], n: int, seed: int) -> list[Example]:
    by_id = {example.id: example for example in examples}
    return [by_id[name] for name in shuffled(list(by_id), "pointing", seed)[:n]]


def ways(acting: Acting) -> dict[str, Tensor]:
    """Maps (W, K, H, W') by the way in which they were found."""
    return {"influence": acting.influence} | ({} if acting.attention is None else {"attention": acting.attention})


def named(layout: Layout, example: Example, words: Sequence[str]) -> Iterator[Named]:
    """The things that one run of words names, and no other thing."""
    masks: Tensor = example.values[MASK][0]
    for place in range(1, layout.places + 1):
        attributes = [str(example.values[f"{attribute}.{place}"][0]) for attribute in layout.attributes]
        run = spoken([value for value in attributes if value != NONE], words)
        if run is not None and place <= len(masks):
            mask = masks[place - 1] >= COVERED
            yield Named(run, mask, grown(mask, round(BESIDE * mask.shape[1])))


def spoken(attributes: Sequence[str], words: Sequence[str]) -> tuple[int, ...] | None:
    """The longest run of words that all say attributes of a thing, two of them at least; None where there is none or a second."""
    runs: list[tuple[int, ...]] = []
    run: tuple[int, ...] = ()
    for place, word in enumerate([*words, ""]):
        if word in attributes:
            run = (*run, place)
        else:
            runs += [run] if len(run) > 1 else []
            run = ()
    longest = [one for one in runs if len(one) == max(map(len, runs))]
    return longest[0] if len(longest) == 1 else None


def grown(mask: Tensor, pixels: int) -> Tensor:
    """mask (H, W) bool and all that lies within so many pixels of it."""
    around = F.max_pool2d(mask[None].float(), 2 * pixels + 1, stride=1, padding=pixels)
    return around[0] > 0


def hit(heat: Tensor, mask: Tensor) -> bool:
    """Does the largest value of heat (H, W) lie on the mask? Who says the same of all places points nowhere."""
    return bool(mask.flatten()[int(torch.argmax(heat))]) and bool(heat.max() > heat.min())


def evenly(heat: Tensor) -> Tensor:
    """Maps (K, H, W) of all levels as one, (H, W), in which each has the same weight."""
    return (heat / heat.sum(dim=(1, 2), keepdim=True).clamp_min(1e-12)).sum(dim=0)


def judged(heat: Tensor, thing: Named) -> Asked:
    """heat (K, H, W): the maps of all levels together, and each by itself."""
    together = evenly(heat)
    return Asked(hit(together, thing.mask), hit(together, thing.near), tuple(hit(level, thing.mask) for level in heat))


def by_level(rows: Sequence[Asked]) -> list[float]:
    """Shares at each noise level, from much to little."""
    return [sum(level) / len(rows) for level in zip(*(one.levels for one in rows), strict=True)]


@hookimpl
def cdkit_metric() -> type[Pointing]:
    return Pointing
