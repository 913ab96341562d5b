"""said_drawn: real pictures of what was said score what the evaluator scores; pictures of something else score nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from cdkit.parts import DataError
from cdkit_data.digits import Digits
from cdkit_metrics.evaluator import Evaluator
from cdkit_metrics.hashing import picture_seeds
from cdkit_metrics.said_drawn import SaidDrawn, confusion
from torch import Tensor

N = 200


@pytest.fixture
def metric(evaluator: Evaluator, epochs: int) -> SaidDrawn:
    assert evaluator.accuracy.n
    return SaidDrawn(pictures=N, batch=64, epochs=epochs)


def test_real_pictures_score_the_evaluators_accuracy(
    metric: SaidDrawn, evaluator: Evaluator, digits: Digits, cache: Path, stub: Any, real: Any
) -> None:
    draws = real(digits.split("test"), digits.classes)
    result = metric(stub(digits, cache, draws))
    seen = evaluator.recognise(torch.stack([picture for _, picture in draws.handed]))
    hits = sum(digits.classes[place] == said for place, (said, _) in zip(seen.tolist(), draws.handed, strict=True))
    assert result["drawn"]["count"] == hits
    assert result["drawn"]["n"] == N
    assert result["drawn"]["share"] >= 0.95
    assert result["evaluator"]["count"] == evaluator.accuracy.count


def test_pictures_of_the_next_class_score_nothing(metric: SaidDrawn, digits: Digits, cache: Path, stub: Any, real: Any) -> None:
    result = metric(stub(digits, cache, real(digits.split("test"), digits.classes, shift=1)))
    assert result["drawn"]["share"] <= 0.05
    worst = result["confused"][0]
    assert digits.classes.index(worst["seen"]) == (digits.classes.index(worst["said"]) + 1) % 10
    assert worst["n"] == pytest.approx(N / 10, abs=2)


def test_pictures_of_any_class_score_chance(metric: SaidDrawn, digits: Digits, cache: Path, stub: Any) -> None:
    examples = digits.split("test")

    def anything(values: Mapping[str, Sequence[Any]], seeds: Sequence[int]) -> Tensor:
        del values
        return torch.stack([examples[seed * 7919 % len(examples)].image for seed in seeds])

    low, high = metric(stub(digits, cache, anything))["drawn"]["interval"]
    assert low < 0.1 < high


def test_classes_are_said_equally_often_in_every_wording(
    metric: SaidDrawn, digits: Digits, cache: Path, stub: Any, real: Any
) -> None:
    draws = real(digits.split("test"), digits.classes)
    said: dict[str, list[Any]] = {}

    def noted(values: Mapping[str, Sequence[Any]], seeds: Sequence[int]) -> Tensor:
        for column, given in values.items():
            said.setdefault(column, []).extend(given)
        return draws(values, seeds)

    result = metric(stub(digits, cache, noted))
    assert {share["n"] for share in result["classes"].values()} == {N // 10}
    assert said["text"] == said["text.en"]
    prompts = digits.prompts("en")
    assert set(said["text"]) == {words for given in prompts.values() for words in given}
    assert all(words in prompts[label] for words, label in zip(said["text"], said["label"], strict=True))


def test_chinese_says_chinese(epochs: int, digits: Digits, cache: Path, stub: Any, real: Any) -> None:
    draws = real(digits.split("test"), digits.classes)

    def noted(values: Mapping[str, Sequence[Any]], seeds: Sequence[int]) -> Tensor:
        assert set(values) == {"text", "text.zh", "label"}
        assert all(any(ord(letter) > 0x2E80 for letter in text) or text.isdigit() for text in values["text"])
        return draws(values, seeds)

    result = SaidDrawn(pictures=40, language="zh", epochs=epochs)(stub(digits, cache, noted))
    assert result["language"] == "zh"
    assert result["drawn"]["share"] > 0.9


def test_a_language_without_words_is_refused(digits: Digits, cache: Path, stub: Any) -> None:
    with pytest.raises(DataError, match="Digits has no prompts in language 'tlh' for zero, one"):
        SaidDrawn(language="tlh")(stub(digits, cache))


def test_the_score_does_not_depend_on_the_batch(
    metric: SaidDrawn, digits: Digits, cache: Path, stub: Any, real: Any, epochs: int
) -> None:
    draws = real(digits.split("test"), digits.classes)
    examinee = stub(digits, cache, draws)
    assert metric(examinee) == SaidDrawn(pictures=N, batch=7, epochs=epochs)(examinee)
    assert any(f"{N} of {N} pictures" in line for line in examinee.said)


def test_tuning_and_judging_draw_different_noise() -> None:
    judged, tuned = picture_seeds(0, "test", 2000), picture_seeds(0, "validation", 2000)
    assert not set(judged) & set(tuned)
    assert len(set(judged)) == 2000
    assert picture_seeds(0, "test", 10) == judged[:10]


def test_confusion_counts_rows_of_what_was_said() -> None:
    counts = confusion(torch.tensor([0, 0, 1, 2]), torch.tensor([0, 1, 1, 0]), 3)
    assert counts.tolist() == [[1, 1, 0], [0, 1, 0], [1, 0, 0]]
