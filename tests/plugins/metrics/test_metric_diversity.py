"""diversity: 0 for a model that draws one picture a prompt, 1 for real pictures, more for one that does not hear the prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from cdkit.parts import DataError, Example
from cdkit_data.digits import Digits
from cdkit_metrics.diversity import Diversity, spread
from cdkit_metrics.evaluator import Evaluator
from torch import Tensor


def test_pairs_in_closed_form() -> None:
    """Corners of a simplex are sqrt 2 apart; 0, 1 and 3 on a line are 1, 2 and 3 apart; twins are not."""
    assert spread(torch.eye(5, dtype=torch.float64)) == pytest.approx(2**0.5, rel=1e-12)
    assert spread(torch.tensor([[0.0], [1.0], [3.0]], dtype=torch.float64)) == pytest.approx(2, rel=1e-12)
    assert spread(torch.ones(4, 3, dtype=torch.float64)) == 0


def test_does_not_grow_with_the_sample() -> None:
    draws = torch.randn(2000, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    few = torch.tensor([spread(part) for part in draws.split(5)])
    assert abs(float(few.mean()) / spread(draws) - 1) < 0.02


class Drawing:
    """Real training pictures: as many of the class that is said as `of_each`, or of any class."""

    def __init__(self, dataset: Digits, *, of_each: int | None = None, deaf: bool = False) -> None:
        examples = dataset.split("train")
        self.deaf, self.of_each, self.anything = deaf, of_each, [e.image for e in examples]
        self.by_class = {name: [e.image for e in examples if e.values["label"][0] == name] for name in dataset.classes}
        self.said: list[tuple[Any, Any]] = []

    def __call__(self, values: Mapping[str, Sequence[Any]], seeds: Sequence[int]) -> Tensor:
        self.said += zip(values["label"], values["text"], strict=True)
        pools = [self.anything if self.deaf else self.by_class[said][: self.of_each] for said in values["label"]]
        return torch.stack([pool[seed * 7919 % len(pool)] for pool, seed in zip(pools, seeds, strict=True)])


@pytest.fixture
def metric(evaluator: Evaluator, epochs: int) -> Diversity:
    assert evaluator.accuracy.n
    return Diversity(epochs=epochs)


def test_one_picture_a_prompt_scores_nothing_and_real_ones_score_one(
    metric: Diversity, digits: Digits, cache: Path, stub: Any
) -> None:
    collapsed, few, real = (metric(stub(digits, cache, Drawing(digits, of_each=n))) for n in (1, 2, None))
    assert collapsed["ratio"] == 0
    assert 0.2 < few["ratio"] < 0.8
    assert abs(real["ratio"] - real["real"]) < 0.15
    assert 0.8 < real["real"] < 1.25
    assert real["ratio"] == pytest.approx(sum(real["classes"].values()) / 10)


def test_a_model_that_does_not_hear_the_prompt_is_more_varied_than_real(
    metric: Diversity, digits: Digits, cache: Path, stub: Any
) -> None:
    hears, deaf = (metric(stub(digits, cache, Drawing(digits, deaf=deaf))) for deaf in (False, True))
    assert deaf["ratio"] > 1.2 * hears["ratio"]


def test_each_class_is_said_in_one_wording_from_different_noise(
    metric: Diversity, digits: Digits, cache: Path, stub: Any
) -> None:
    draws = Drawing(digits)
    result = metric(stub(digits, cache, draws))
    assert len(draws.said) == 10 * 20
    assert len(set(draws.said)) == 10
    assert result["seeds"][1] - result["seeds"][0] == 10 * 20 - 1


class Alike(Digits):
    def split(self, name: Literal["train", "validation", "test"]) -> Sequence[Example]:
        examples = list(super().split(name))
        first = next(e.image for e in examples if e.values["label"][0] == "two")
        return [Example(e.id, first, e.values) if name == "test" and e.values["label"][0] == "two" else e for e in examples]

    def fingerprint(self) -> str:
        return Digits().fingerprint()


def test_real_pictures_that_are_all_alike_are_refused(metric: Diversity, cache: Path, stub: Any) -> None:
    with pytest.raises(DataError, match="split 'test' has no two pictures that differ of two; diversity needs them"):
        metric(stub(Alike(), cache, Drawing(Alike())))
