"""frechet: closed forms, scipy's square root, and a ratio that is 1 when the drawn pictures are the real ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from cdkit.parts import DataError, Example
from cdkit_data.digits import Digits
from cdkit_metrics.evaluator import Evaluator
from cdkit_metrics.frechet import Frechet, between, frechet_distance
from cdkit_metrics.likeness import compared
from scipy.linalg import sqrtm
from torch import Tensor


def covariance(size: int, seed: int, *, rank: int | None = None) -> Tensor:
    draws = torch.randn(size, rank or 3 * size, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return draws @ draws.T / size


def test_closed_form_of_diagonal_gaussians() -> None:
    mean, other = torch.tensor([1.0, -2.0, 0.5]), torch.tensor([0.0, 1.0, 0.5])
    spread, wider = torch.tensor([1.0, 0.5, 2.0]), torch.tensor([2.0, 0.1, 2.0])
    expected = (mean - other).square().sum() + (spread - wider).square().sum()
    found = between(mean, torch.diag(spread**2), other, torch.diag(wider**2))
    assert found == pytest.approx(float(expected), rel=1e-6)


@pytest.mark.parametrize("rank", [None, 5])
def test_agrees_with_scipys_square_root(rank: int | None) -> None:
    one, other, shift = covariance(12, 0), covariance(12, 1, rank=rank), torch.arange(12.0)
    root = np.real(sqrtm((one @ other).numpy()))
    expected = float(shift.square().sum() + one.trace() + other.trace()) - 2 * float(np.trace(root))
    assert between(shift, one, torch.zeros(12), other) == pytest.approx(expected, rel=1e-6)


def test_is_a_distance_squared() -> None:
    a, b, zero = covariance(6, 0), covariance(6, 1), torch.zeros(6)
    turn = torch.linalg.qr(covariance(6, 2)).Q
    assert between(zero, a, zero, a) == pytest.approx(0, abs=1e-9)
    assert between(zero, a, zero, b) == pytest.approx(between(zero, b, zero, a), rel=1e-9)
    assert between(zero, turn @ a @ turn.T, zero, turn @ b @ turn.T) == pytest.approx(between(zero, a, zero, b), rel=1e-9)
    assert between(3 * zero, 9 * a, 3 * zero, 9 * b) == pytest.approx(9 * between(zero, a, zero, b), rel=1e-9)


def test_samples_approach_what_their_gaussians_say() -> None:
    generator = torch.Generator().manual_seed(0)
    root, shift = torch.linalg.cholesky(covariance(4, 3)), torch.tensor([0.5, 0, 0, -1], dtype=torch.float64)
    one = torch.randn(40_000, 4, generator=generator, dtype=torch.float64) @ root.T + shift
    other = torch.randn(40_000, 4, generator=generator, dtype=torch.float64)
    expected = between(shift, root @ root.T, torch.zeros(4), torch.eye(4, dtype=torch.float64))
    assert frechet_distance(one, other) == pytest.approx(expected, rel=0.03)


def test_order_of_a_sample_changes_nothing() -> None:
    one, other = torch.randn(2, 60, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert float(frechet_distance(one.flip(0), other)) == pytest.approx(float(frechet_distance(one, other)), rel=1e-9)


def test_a_small_sample_looks_farther_which_is_why_sizes_are_equal() -> None:
    draws = torch.randn(2, 2000, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert frechet_distance(draws[0, :100], draws[1, :100]) > 5 * frechet_distance(*draws)


def test_the_very_pictures_are_as_far_as_the_floor() -> None:
    real = torch.randn(101, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    distance, floor, spread = compared(real, real.clone(), frechet_distance, cuts=4, seed=0)
    assert float(distance) == pytest.approx(float(floor), rel=1e-12)
    assert 0 < spread < floor
    assert compared(real, real, frechet_distance, cuts=1, seed=0)[2] == 0


def test_fresh_pictures_of_the_same_kind_lie_at_the_floor_and_others_do_not() -> None:
    real, fresh = torch.randn(2, 600, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    distance, floor, _ = compared(real, fresh, frechet_distance, cuts=6, seed=0)
    assert 0.6 < distance / floor < 1.6
    farther = [compared(real, fresh * scale, frechet_distance, cuts=6, seed=0)[0] for scale in (1, 1.2, 1.5)]
    assert farther == sorted(farther)
    assert farther[-1] > 5 * floor


class Reversed(Digits):
    def split(self, name: Literal["train", "validation", "test"]) -> Sequence[Example]:  # type: ignore[override]  # a list will do
        return list(super().split(name))[::-1]


def echo(dataset: Digits, split: Literal["train", "test"], noise: float = 0.0) -> Any:
    """Draws a picture of the split for each value, another one of the same class each time, with noise upon it."""
    by_class = {name: [e.image for e in dataset.split(split) if e.values["label"][0] == name] for name in dataset.classes}

    def draw(values: Mapping[str, Sequence[Any]], seeds: Sequence[int]) -> Tensor:
        pictures = torch.stack(
            [by_class[said][seed % len(by_class[said])] for said, seed in zip(values["label"], seeds, strict=True)]
        )
        extra = torch.stack([torch.randn(pictures.shape[1:], generator=torch.Generator().manual_seed(seed)) for seed in seeds])
        return (pictures + noise * extra).clamp(-1, 1)

    return draw


def test_other_real_pictures_score_about_one_and_noise_scores_worse(
    evaluator: Evaluator, digits: Digits, cache: Path, stub: Any, epochs: int
) -> None:
    metric = Frechet(epochs=epochs, cuts=4)
    good, noisy, worse = (metric(stub(digits, cache, echo(digits, "train", noise))) for noise in (0.0, 0.3, 1.0))
    assert 0.7 < good["ratio"] < 1.6
    assert good["ratio"] < noisy["ratio"] < worse["ratio"]
    assert worse["ratio"] > 3
    assert good["floor"] == noisy["floor"] == worse["floor"]
    assert good["pictures"] == len(digits.split("test"))
    assert good["per_side"] == good["pictures"] // 2
    assert good["evaluator"]["count"] == evaluator.accuracy.count


def test_the_order_of_the_data_set_changes_nothing(
    evaluator: Evaluator, digits: Digits, cache: Path, stub: Any, epochs: int
) -> None:
    assert evaluator.accuracy.n
    metric, other = Frechet(epochs=epochs, pictures=80, cuts=2), Reversed()
    results = [metric(stub(data, cache, echo(digits, "train"))) for data in (digits, other)]
    assert results[0]["floor"] == pytest.approx(results[1]["floor"], rel=0.5)
    seen: list[list[Any]] = [[], []]
    for data, said in zip((digits, other), seen, strict=True):

        def noted(values: Mapping[str, Sequence[Any]], seeds: Sequence[int], said: list[Any] = said) -> Tensor:
            said.extend(values["text"])
            return torch.zeros(len(seeds), 1, 8, 8)

        metric(stub(data, cache, noted))
    assert seen[0] == seen[1]


def test_a_language_is_spoken_throughout(digits: Digits, cache: Path, stub: Any, evaluator: Evaluator, epochs: int) -> None:
    assert evaluator.accuracy.n

    def draw(values: Mapping[str, Sequence[Any]], seeds: Sequence[int]) -> Tensor:
        assert set(values) == {"text", "text.zh", "label"}
        assert values["text"] == values["text.zh"]
        return torch.zeros(len(seeds), 1, 8, 8)

    assert Frechet(language="zh", pictures=20, cuts=1, epochs=epochs)(stub(digits, cache, draw))["ratio"] > 2


def test_too_few_real_pictures_are_refused(digits: Digits, cache: Path, stub: Any) -> None:
    with pytest.raises(DataError, match="5 real pictures in split 'test'; a Fréchet distance needs 8"):
        Frechet(pictures=5)(stub(digits, cache))
