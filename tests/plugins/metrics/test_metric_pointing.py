"""Pointing: who points at what is named is right, who points beside it is wrong, and chance is what a thing covers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from cdkit.parts import Acting, DataError
from cdkit_data.digits import Digits
from cdkit_data.shapes import Shapes
from cdkit_metrics.pointing import Pointing, evenly, grown, hit, spoken
from torch import Tensor

Pick = Callable[[Tensor, int], Tensor]  # masks (2, H, W) and a thing's place -> where to point (H, W)


def right(masks: Tensor, place: int) -> Tensor:
    return masks[place]


def astray(masks: Tensor, place: int) -> Tensor:
    return 1 - masks[place]


def swapped(masks: Tensor, place: int) -> Tensor:
    return masks[1 - place]


@dataclass
class Pointer:
    """An examinee that knows the masks: by the words of a thing's colour it points, at much noise alone, where `pick` says."""

    dataset: Any
    pick: Pick = right
    attends: bool = False
    cache: Path = Path()
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def acting(self, image: Tensor, values: Mapping[str, Sequence[Any]], seed: int) -> Acting:
        del seed
        words = tuple(values["text"][0].split())
        places = {(values[f"colour.{n}"][0], values[f"shape.{n}"][0]): n - 1 for n in (1, 2)}
        maps = torch.zeros(len(words), 2, *image.shape[1:])
        for at, pair in enumerate(pairwise(words)):
            if pair in places:
                maps[at, 0] = self.pick(values["mask"][0], places[pair])
        return Acting(words, (0.9, 0.1), maps, maps if self.attends else None)

    def say(self, message: str) -> None:
        del message


@pytest.fixture(scope="module")
def shapes() -> Shapes:
    return Shapes(size=16, count=400)


def test_who_points_at_it_is_right(shapes: Shapes) -> None:
    told = Pointing(pictures=30)(Pointer(shapes))
    assert told["influence"]["share"] == 1
    assert told["levels"]["influence"][0] == 1
    assert told["levels"]["influence"][1] == 0  # who says nothing points nowhere
    assert "attention" not in told
    assert 0 < told["chance"] < 0.3


def test_who_points_beside_it_is_wrong(shapes: Shapes) -> None:
    told = Pointing(pictures=30)(Pointer(shapes, astray))
    assert told["influence"]["share"] == 0
    assert told["near"]["influence"]["share"] < 0.3


def test_who_points_at_the_other_thing_is_wrong(shapes: Shapes) -> None:
    told = Pointing(pictures=60)(Pointer(shapes, swapped, attends=True))
    assert told["attention"]["share"] == told["near"]["attention"]["share"] == 0


def test_a_set_without_masks_cannot_say() -> None:
    with pytest.raises(DataError, match="no column 'mask'"):
        Pointing()(Pointer(Digits()))


def test_words_that_name_a_thing() -> None:
    words = ["a", "small", "red", "circle", "left", "of", "a", "blue", "square"]
    assert spoken(["red", "circle", "small"], words) == (1, 2, 3)
    assert spoken(["blue", "square", "large"], words) == (7, 8)
    assert spoken(["green", "circle"], words) is None  # one word alone names nothing
    assert spoken(["red", "circle"], ["a", "red", "circle", "above", "a", "red", "circle"]) is None


def test_what_is_close_by() -> None:
    mask = torch.zeros(5, 5, dtype=torch.bool)
    mask[2, 2] = True
    assert int(grown(mask, 0).sum()) == 1
    assert int(grown(mask, 1).sum()) == 9
    assert hit(mask.float(), mask)
    assert not hit(1 - mask.float(), mask)
    assert not hit(torch.ones(5, 5), torch.ones(5, 5, dtype=torch.bool))


def test_no_level_outvotes_the_others() -> None:
    """A thousand times the change at much noise is not a thousand times the weight."""
    heat = torch.zeros(3, 4, 4)
    heat[0, 0, 0], heat[1:, 3, 3] = 1000, 1
    assert int(evenly(heat).argmax()) == 15
