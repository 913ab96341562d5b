"""Examinees whose answers are known: real pictures, real pictures of the wrong class, closed-form Gaussians."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from cdkit.parts import Dataset, Example
from cdkit_data.digits import Digits
from cdkit_metrics.evaluator import Evaluator, evaluator_of
from torch import Tensor

EPOCHS = 5


@dataclass
class Stub:
    """An Examinee out of two functions."""

    dataset: Dataset
    cache: Path
    draws: Callable[[Mapping[str, Sequence[Any]], Sequence[int]], Tensor] | None = None
    losses: Callable[[Tensor, Mapping[str, Sequence[Any]], float, Sequence[int]], Tensor] | None = None
    said: list[str] = field(default_factory=list)
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def draw(self, values: Mapping[str, Sequence[Any]], seeds: Sequence[int], guidance: float | None = None) -> Tensor:
        assert guidance is None
        assert self.draws is not None
        return self.draws(values, seeds)

    def loss(self, images: Tensor, values: Mapping[str, Sequence[Any]], level: float, seeds: Sequence[int]) -> Tensor:
        assert self.losses is not None
        return self.losses(images, values, level, seeds)

    def say(self, message: str) -> None:
        self.said.append(message)


class Real:
    """Draws real pictures of the class that it is told, or of the one `shift` classes further on."""

    def __init__(self, examples: Sequence[Example], classes: Sequence[str], *, shift: int = 0) -> None:
        self.by_class = {name: [e.image for e in examples if e.values["label"][0] == name] for name in classes}
        self.classes = list(classes)
        self.shift = shift
        self.handed: list[tuple[str, Tensor]] = []

    def __call__(self, values: Mapping[str, Sequence[Any]], seeds: Sequence[int]) -> Tensor:
        pictures: list[Tensor] = []
        for said, seed in zip(values["label"], seeds, strict=True):
            shown = self.classes[(self.classes.index(said) + self.shift) % len(self.classes)]
            pictures.append(self.by_class[shown][seed % len(self.by_class[shown])])
            self.handed.append((said, pictures[-1]))
        return torch.stack(pictures)


@pytest.fixture(scope="session")
def digits() -> Digits:
    return Digits()


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def evaluator(digits: Digits, cache: Path) -> Evaluator:
    """A short lesson, shared: the metrics find it in the cache."""
    return evaluator_of(Stub(digits, cache), epochs=EPOCHS)


@pytest.fixture(scope="session")
def epochs() -> int:
    return EPOCHS


@pytest.fixture(scope="session")
def stub() -> type[Stub]:
    return Stub


@pytest.fixture(scope="session")
def real() -> type[Real]:
    return Real
