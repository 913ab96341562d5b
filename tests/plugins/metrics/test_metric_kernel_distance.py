"""kernel_distance: by hand on small sets, in closed form for a point against another, unbiased where a plain mean is not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from cdkit.parts import DataError
from cdkit_data.digits import Digits
from cdkit_metrics.evaluator import Evaluator
from cdkit_metrics.kernel_distance import KernelDistance, kernel_distance
from torch import Tensor


def samples(n: int, features: int = 3, *, sets: int = 2, seed: int = 0) -> Tensor:
    return torch.randn(sets, n, features, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def by_hand(one: list[list[float]], other: list[list[float]]) -> float:
    """Equation 3 of Gretton et al. 2012, term by term."""

    def k(x: list[float], y: list[float]) -> float:
        return (sum(a * b for a, b in zip(x, y, strict=True)) / len(x) + 1) ** 3

    def within(sample: list[list[float]]) -> float:
        return sum(k(sample[i], sample[j]) for i in range(len(sample)) for j in range(len(sample)) if i != j) / (
            len(sample) * (len(sample) - 1)
        )

    return within(one) + within(other) - 2 * sum(k(x, y) for x, y in product(one, other)) / (len(one) * len(other))


def test_agrees_with_the_sum_term_by_term() -> None:
    one, other = samples(7)
    found = kernel_distance(one, other[:5] + 0.5)
    assert float(found) == pytest.approx(by_hand(one.tolist(), (other[:5] + 0.5).tolist()), rel=1e-12)


def test_two_points_in_closed_form() -> None:
    """A sample that is x again and again, and one that is y: k(x, x) + k(y, y) - 2 k(x, y)."""
    x, y = torch.tensor([1.0, 2.0], dtype=torch.float64), torch.tensor([-1.0, 0.5], dtype=torch.float64)
    expected = (5 / 2 + 1) ** 3 + (1.25 / 2 + 1) ** 3 - 2 * (0 / 2 + 1) ** 3
    assert float(kernel_distance(x.repeat(4, 1), y.repeat(3, 1))) == pytest.approx(expected, rel=1e-12)
    assert float(kernel_distance(x.repeat(4, 1), x.repeat(3, 1))) == pytest.approx(0, abs=1e-12)


def test_shifted_points_on_a_line_in_closed_form() -> None:
    """F = 1, X = 0 or 1 evenly, Y = X + 1: the population's distance is the mean of k over all pairs of values."""
    x, y = [0.0, 1.0], [1.0, 2.0]
    xx, yy, xy = (sum((a * b + 1) ** 3 for a, b in product(*of)) / 4 for of in ((x, x), (y, y), (x, y)))
    draws = torch.randint(0, 2, (2, 400, 50), generator=torch.Generator().manual_seed(0)).double()
    found = torch.stack([kernel_distance(a[:, None], b[:, None] + 1) for a, b in zip(draws[0], draws[1], strict=True)])
    expected, error = xx + yy - 2 * xy, float(found.std()) / 400**0.5
    assert abs(float(found.mean()) - expected) < 4 * error
    assert error < 0.05 * expected, "a test of nothing"


def test_is_unbiased_however_small_the_sample() -> None:
    """The mean over many samples of one kind is 0; counting each picture as its own neighbour would put it far above."""
    for n in (4, 16):
        draws = samples(n, sets=2 * 600)
        found = torch.stack([kernel_distance(one, other) for one, other in zip(draws[::2], draws[1::2], strict=True)])
        error = float(found.std()) / len(found) ** 0.5
        assert abs(float(found.mean())) < 4 * error
        biased = torch.stack([((one @ one.T / 3 + 1) ** 3).mean() for one in draws]).mean()
        plain = torch.stack([((one @ other.T / 3 + 1) ** 3).mean() for one, other in zip(draws[::2], draws[1::2], strict=True)])
        assert float(biased - plain.mean()) > 8 * error


def test_is_symmetric_and_grows_with_the_shift() -> None:
    one, other = samples(50)
    assert float(kernel_distance(one, other)) == pytest.approx(float(kernel_distance(other, one)), rel=1e-9)
    farther = [float(kernel_distance(one, other + shift)) for shift in (0.5, 1.0, 2.0)]
    assert farther == sorted(farther)


class Noisy:
    """Draws a real training picture of what is said, with noise upon it, and counts what it drew."""

    def __init__(self, dataset: Digits, noise: float) -> None:
        self.noise = noise
        self.by_class = {
            name: [e.image for e in dataset.split("train") if e.values["label"][0] == name] for name in dataset.classes
        }

    def __call__(self, values: Mapping[str, Sequence[Any]], seeds: Sequence[int]) -> Tensor:
        chosen = [self.by_class[said][seed % len(self.by_class[said])] for said, seed in zip(values["label"], seeds, strict=True)]
        extra = torch.randn(len(seeds), *chosen[0].shape, generator=torch.Generator().manual_seed(seeds[0]))
        return (torch.stack(chosen) + self.noise * extra).clamp(-1, 1)


def test_real_pictures_lie_at_the_floor_and_noise_lies_farther(
    evaluator: Evaluator, digits: Digits, cache: Path, stub: Any, epochs: int
) -> None:
    metric = KernelDistance(epochs=epochs)
    real, noisy, worse = (metric(stub(digits, cache, Noisy(digits, noise))) for noise in (0.0, 0.5, 1.0))
    assert abs(real["floor"]) < 2 * real["floor_spread"]
    assert real["distance"] < noisy["distance"] < worse["distance"]
    assert worse["distance"] > 10 * worse["floor_spread"]
    assert real["evaluator"]["count"] == evaluator.accuracy.count


def test_too_few_real_pictures_are_refused(digits: Digits, cache: Path, stub: Any) -> None:
    with pytest.raises(DataError, match="5 real pictures in split 'test'; a kernel distance needs 8"):
        KernelDistance(pictures=5)(stub(digits, cache))
