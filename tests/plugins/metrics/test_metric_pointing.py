"""Pointing: who points at what is named is right, who points beside it is wrong, and chance is what a thing covers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from cdkit.parts import Acting, DataError
from cdkit_data.digits import Digits
from cdkit_data.shapes import Shapes
from cdkit_metrics.pointing import Pointing, grown, hit, spoken
from torch import Tensor

Maps = Callable[[Tensor, tuple[str, ...]], Tensor]


@dataclass
class Pointer:
    """An examinee that knows the masks: it points at each thing by the words of its colour, or elsewhere."""

    dataset: Any
    cache: Path = Path()
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    astray: bool = False

    def acting(self, image: Tensor, values: Mapping[str, Sequence[Any]], seed: int) -> Acting:
        del seed
        words = tuple(values["text"][0].split())
        things = {(values[f"colour.{n}"][0], values[f"shape.{n}"][0]): values["mask"][0][n - 1] for n in (1, 2)}
        maps = torch.stack([self._map(things.get(pair), image) for pair in zip(words, (*words[1:], ""), strict=True)])
        return Acting(words, (0.9, 0.1), maps, None)

    def _map(self, mask: Tensor | None, image: Tensor) -> Tensor:
        heat = torch.zeros(2, *image.shape[1:])
        if mask is not None:
            heat[0] = 1 - mask if self.astray else mask
        return heat

    def say(self, message: str) -> None:
        del message


@pytest.fixture(scope="module")
def shapes() -> Shapes:
    return Shapes(size=16, count=400)


def test_who_points_at_it_is_right(shapes: Shapes) -> None:
    told = Pointing(pictures=30)(Pointer(shapes))
    assert told["influence"]["share"] == 1
    assert told["levels"]["influence"][0] == 1
    assert told["levels"]["influence"][1] < 0.5  # a map of zeros points at its corner
    assert "attention" not in told
    assert 0 < told["chance"] < 0.3


def test_who_points_beside_it_is_wrong(shapes: Shapes) -> None:
    assert Pointing(pictures=30)(Pointer(shapes, astray=True))["influence"]["share"] == 0


def test_a_set_without_masks_cannot_say() -> None:
    with pytest.raises(DataError, match="no column 'mask'"):
        Pointing()(Pointer(Digits()))


def test_words_that_name_a_thing() -> None:
    words = ["a", "small", "red", "circle", "left", "of", "a", "blue", "square"]
    assert spoken(["red", "circle", "small"], words) == (1, 2, 3)
    assert spoken(["blue", "square", "large"], words) == (7, 8)
    assert spoken(["green", "circle"], words) is None  # one word alone names nothing
    assert spoken(["red", "circle"], ["a", "red", "circle", "above", "a", "red", "circle"]) is None


def test_tolerance() -> None:
    mask = torch.zeros(5, 5, dtype=torch.bool)
    mask[2, 2] = True
    assert int(grown(mask, 0).sum()) == 1
    assert int(grown(mask, 1).sum()) == 9
    assert hit(mask.float(), mask)
    assert not hit(1 - mask.float(), mask)
