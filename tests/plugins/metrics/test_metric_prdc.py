"""prdc: the papers' definitions term by term, on points on a line by hand, and what it says of a model that repeats itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from cdkit.parts import DataError
from cdkit_data.digits import Digits
from cdkit_metrics.evaluator import Evaluator
from cdkit_metrics.frechet import Frechet
from cdkit_metrics.kernel_distance import KernelDistance
from cdkit_metrics.prdc import NAMES, Prdc, prdc
from torch import Tensor


def line(*places: float) -> Tensor:
    return torch.tensor(places, dtype=torch.float64)[:, None]


def term_by_term(real: list[list[float]], made: list[list[float]], k: int) -> list[float]:
    """Kynkäänniemi et al. 2019, equations 1 and 2; Naeem et al. 2020, equations 3 and 4."""

    def apart(x: list[float], y: list[float]) -> float:
        return sum((a - b) ** 2 for a, b in zip(x, y, strict=True)) ** 0.5

    def radius(sample: list[list[float]], i: int) -> float:
        return sorted(apart(sample[i], other) for j, other in enumerate(sample) if j != i)[k - 1]

    real_radii = [radius(real, i) for i in range(len(real))]
    made_radii = [radius(made, j) for j in range(len(made))]
    in_real = [[apart(x, y) <= real_radii[i] for y in made] for i, x in enumerate(real)]
    in_made = [[apart(x, y) <= made_radii[j] for j, y in enumerate(made)] for x in real]
    n, m = len(real), len(made)
    return [
        sum(any(in_real[i][j] for i in range(n)) for j in range(m)) / m,
        sum(any(row) for row in in_made) / n,
        sum(sum(row) for row in in_real) / (k * m),
        sum(any(row) for row in in_real) / n,
    ]


@pytest.mark.parametrize("neighbours", [1, 3, 5])
def test_agrees_with_the_definitions_term_by_term(neighbours: int) -> None:
    generator = torch.Generator().manual_seed(0)
    real, made = (torch.randn(n, 4, dtype=torch.float64, generator=generator) for n in (40, 30))
    made = 1.5 * made + 1
    found = prdc(real, made, neighbours).tolist()
    assert found == pytest.approx(term_by_term(real.tolist(), made.tolist(), neighbours), rel=1e-12)
    assert len({round(value, 6) for value in found}) == 4, "a test that could not tell them apart"


def test_points_on_a_line_by_hand() -> None:
    """The balls of 0, 1, 2, 3 reach 1 far (k = 1); of 10, 10.5, 13 they reach 0.5, 0.5 and 2.5; that of 0.5 beside 10, 9.5."""
    real = line(0, 1, 2, 3)
    assert prdc(real, line(0.5, 10, 10.5), 1).tolist() == pytest.approx([1 / 3, 1, 2 / 3, 2 / 4])
    assert prdc(real, line(10, 10.5, 13), 1).tolist() == [0, 0, 0, 0]
    assert prdc(real, real, 1).tolist() == pytest.approx([1, 1, 10 / 4, 1])


def test_an_outlier_among_real_pictures_fools_precision_and_not_density() -> None:
    """Naeem et al. 2020, section 3.1.1: one far real picture has a ball that all the drawn ones lie in."""
    real, made = line(0, 0.1, 0.2, 0.3, 100), line(*(40 + 0.1 * step for step in range(10)))
    precision, _, density, coverage = prdc(real, made, 1).tolist()
    assert precision == 1
    assert density == pytest.approx(1)
    assert coverage == 1 / 5
    assert prdc(real[:4], made, 1).tolist() == [0, 0, 0, 0]


def test_a_larger_reach_takes_in_more() -> None:
    generator = torch.Generator().manual_seed(0)
    real, made = torch.randn(2, 60, 4, dtype=torch.float64, generator=generator)
    found = torch.stack([prdc(real, made + 1, k) for k in (1, 3, 9)])
    assert bool((found[:, [0, 1, 3]].diff(dim=0) >= 0).all())


class Drawing:
    """A real training picture of what is said, or always the class's first; with noise upon it."""

    def __init__(self, dataset: Digits, *, noise: float = 0.0, collapsed: bool = False) -> None:
        self.noise, self.collapsed = noise, collapsed
        self.by_class = {
            name: [e.image for e in dataset.split("train") if e.values["label"][0] == name] for name in dataset.classes
        }

    def __call__(self, values: Mapping[str, Sequence[Any]], seeds: Sequence[int]) -> Tensor:
        of_each = [self.by_class[said] for said in values["label"]]
        chosen = [ours[0 if self.collapsed else seed % len(ours)] for ours, seed in zip(of_each, seeds, strict=True)]
        extra = torch.randn(len(seeds), *chosen[0].shape, generator=torch.Generator().manual_seed(seeds[0]))
        return (torch.stack(chosen) + self.noise * extra).clamp(-1, 1)


def test_noise_costs_precision_and_repetition_costs_coverage(
    evaluator: Evaluator, digits: Digits, cache: Path, stub: Any, epochs: int
) -> None:
    metric = Prdc(epochs=epochs)
    real = metric(stub(digits, cache, Drawing(digits)))
    noisy = metric(stub(digits, cache, Drawing(digits, noise=1.0)))
    collapsed = metric(stub(digits, cache, Drawing(digits, collapsed=True)))
    for name in NAMES:
        assert abs(real["measures"][name] - real["real"][name]) < 0.15, "other real pictures score what real ones score"
    assert noisy["measures"]["precision"] < real["measures"]["precision"] - 0.1
    assert noisy["measures"]["density"] < 0.7 * real["measures"]["density"]
    assert collapsed["measures"]["precision"] > 0.9
    assert collapsed["measures"]["recall"] < 0.3
    assert collapsed["coverage"] == collapsed["measures"]["coverage"] < 0.7 * real["coverage"]
    assert real["evaluator"]["count"] == evaluator.accuracy.count


def test_all_who_compare_ask_for_the_same_pictures(
    evaluator: Evaluator, digits: Digits, cache: Path, stub: Any, epochs: int
) -> None:
    """So that one drawing serves them all."""
    assert evaluator.accuracy.n
    asked: list[Any] = []

    def draw(values: Mapping[str, Sequence[Any]], seeds: Sequence[int]) -> Tensor:
        asked.append((values, seeds))
        return Drawing(digits)(values, seeds)

    for metric in (Frechet, KernelDistance, Prdc):
        metric(epochs=epochs, pictures=60, seed=3)(stub(digits, cache, draw))
    assert asked[0] == asked[1] == asked[2]
    assert len(asked) == 3


def test_too_few_real_pictures_for_the_neighbours_are_refused(digits: Digits, cache: Path, stub: Any) -> None:
    with pytest.raises(DataError, match="11 real pictures in split 'test'; prdc with 5 neighbours needs 12"):
        Prdc(pictures=11)(stub(digits, cache))
