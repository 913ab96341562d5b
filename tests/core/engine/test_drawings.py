"""Drawings: the same words, noise and way are drawn once; anything else, and anything after, is drawn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from cdkit.engine import drawings
from cdkit.engine.drawings import Drawings
from torch import Tensor


class Hand:
    """Draws a new picture each time, and counts."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> Tensor:
        self.count += 1
        return torch.full((2, 3, 4, 4), float(self.count))


@pytest.fixture
def asked() -> Callable[..., float]:
    kept, hand = Drawings(), Hand()

    def ask(values: dict[str, list[Any]], *how: Any) -> float:
        return float(kept.once(values, how, hand)[0, 0, 0, 0])

    return ask


def test_the_same_is_drawn_once(asked: Callable[..., float]) -> None:
    assert asked({"text": ["cat", "dog"]}, 1, 2, None) == 1
    assert asked({"text": ["cat", "dog"]}, 1, 2, None) == 1


@pytest.mark.parametrize(
    ("values", "how"),
    [
        ({"text": ["cat", "cow"]}, (1, 2, None)),
        ({"label": ["cat", "dog"]}, (1, 2, None)),
        ({"text": ["dog", "cat"]}, (1, 2, None)),
        ({"text": ["cat", "dog"]}, (1, 3, None)),
        ({"text": ["cat", "dog"]}, (1, 2, 1.5)),
        ({}, (1, 2, None)),
    ],
)
def test_whatever_differs_is_drawn(asked: Callable[..., float], values: dict[str, list[Any]], how: tuple[Any, ...]) -> None:
    asked({"text": ["cat", "dog"]}, 1, 2, None)
    assert asked(values, *how) == 2


def test_what_cannot_be_a_key_is_drawn_each_time(asked: Callable[..., float]) -> None:
    assert [asked({"sizes": [[1, 2], [3, 4]]}, 0) for _ in range(2)] == [1, 2]


def test_tensors_are_the_same_only_if_they_are_one(asked: Callable[..., float]) -> None:
    mask = torch.ones(2, 2)
    assert [asked({"mask": [one]}, 0) for one in (mask, mask, mask.clone())] == [1, 1, 2]


def test_the_oldest_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawings, "MOST", 2 * Hand()().nbytes)
    kept, hand = Drawings(), Hand()
    for seed in (0, 1, 2, 2, 1, 0):
        kept.once({}, (seed,), hand)
    assert hand.count == 4, "0 had to go"
