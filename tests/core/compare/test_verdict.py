"""The verdict: false alarms are as rare as it says, planted effects are found, and exchanging the arms mirrors it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from cdkit.compare.verdict import Verdict, half_width, verdict
from numpy.typing import NDArray
from scipy import stats
from torch import tensor

REPLICAS = 1000
Table = NDArray[np.float64]


def scores(draws: np.random.Generator, seeds: int, prompts: int, *, by_seed: float, by_pair: float, level: float = 0.8) -> Table:
    """Shares of 50 pictures of each prompt drawn right: a seed is lucky throughout, a pair on its own."""
    chances = level + draws.normal(0, by_seed, (seeds, 1)) + draws.normal(0, by_pair, (seeds, prompts))
    return draws.binomial(50, np.clip(chances, 0, 1)) / 50


WORLDS = [(0.0, 0.0), (0.03, 0.0), (0.0, 0.05), (0.02, 0.02), (0.1, 0.02)]


@pytest.mark.parametrize(("by_seed", "by_pair"), WORLDS)
@pytest.mark.parametrize("seeds", [3, 5])
def test_an_arm_against_itself_is_seldom_told_apart(seeds: int, by_seed: float, by_pair: float) -> None:
    """Disjoint seeds of one and the same arm: at 95 %, at most 6.5 % of 1,000 replicas (5 %, and two standard errors)."""
    draws = np.random.default_rng(0)
    told = 0
    for _ in range(REPLICAS):
        one, other = (scores(draws, seeds, 10, by_seed=by_seed, by_pair=by_pair) for _ in range(2))
        told += verdict(one.tolist(), other.tolist()).outcome != "cannot tell"
    assert told / REPLICAS <= 0.065


def test_the_truth_lies_in_the_interval_as_often_as_it_says() -> None:
    """Prompts that differ in how much the arm helps them, too: the interval speaks of prompts in general."""
    draws = np.random.default_rng(1)
    held = 0
    for _ in range(REPLICAS):
        helped = draws.normal(0.05, 0.08, (1, 12))
        arm = helped + draws.normal(0, 0.02, (4, 1)) + draws.normal(0, 0.03, (4, 12))
        found = verdict(arm.tolist(), np.zeros((4, 12)).tolist())
        held += found.low <= 0.05 <= found.high
    assert held / REPLICAS >= 0.935


@pytest.mark.parametrize(("seeds", "effect"), [(3, 0.12), (5, 0.08), (10, 0.045)])
def test_a_planted_effect_is_found(seeds: int, effect: float) -> None:
    """Where a seed's luck is 2 points: 12 points by three seeds, 8 by five, 4.5 by ten, at least four times in five."""
    draws = np.random.default_rng(2)
    found = 0
    for _ in range(300):
        arm = scores(draws, seeds, 10, by_seed=0.02, by_pair=0.02, level=0.8 + effect)
        found += verdict(arm.tolist(), scores(draws, seeds, 10, by_seed=0.02, by_pair=0.02).tolist()).outcome == "better"
    assert found / 300 >= 0.8


def test_of_one_prompt_it_is_the_paired_t_test() -> None:
    draws = np.random.default_rng(3)
    one, other = draws.normal(0.3, 1, 7), draws.normal(0, 1, 7)
    expected = stats.ttest_rel(one, other).confidence_interval(0.95)
    found = verdict(one[:, None].tolist(), other[:, None].tolist())
    assert math.isclose(found.low, expected.low, rel_tol=1e-10)
    assert math.isclose(found.high, expected.high, rel_tol=1e-10)


def test_pairing_is_used() -> None:
    """Seeds and prompts that are hard for both arms take nothing from what is known of their difference."""
    draws = np.random.default_rng(4)
    hard = draws.normal(0, 1, (5, 1)) + draws.normal(0, 1, (1, 10))
    arm = hard + 0.05 + draws.normal(0, 0.02, (5, 10))
    found = verdict(arm.tolist(), hard.tolist())
    assert found.outcome == "better"
    assert found.high - found.low < 0.05


def test_exchanging_the_arms_mirrors_it() -> None:
    draws = np.random.default_rng(5)
    for effect in (0.0, 0.3):
        one, other = (draws.normal(level, 0.1, (4, 6)).tolist() for level in (effect, 0.0))
        there, back = verdict(one, other), verdict(other, one)
        assert (back.difference, back.low, back.high) == (-there.difference, -there.high, -there.low)
        mirrored = {"better": "worse", "worse": "better", "cannot tell": "cannot tell"}
        assert (back.outcome, back.more) == (mirrored[there.outcome], there.more)


def test_an_arm_and_itself_differ_by_nothing() -> None:
    same = [[0.5, 0.6], [0.7, 0.8], [0.1, 0.4]]
    found = verdict(same, same)
    assert (found.outcome, found.difference, found.low, found.high, found.more) == ("cannot tell", 0.0, 0.0, 0.0, None)


def test_one_seed_tells_nothing() -> None:
    found = verdict([[1.0, 1.0, 1.0]], [[0.0, 0.0, 0.0]])
    assert found.outcome == "cannot tell"
    assert (found.low, found.high) == (-math.inf, math.inf)
    assert found.warning.startswith("one seed")
    assert (found.to_json()["low"], found.to_json()["high"]) == (None, None)


def test_few_seeds_are_warned_of() -> None:
    def of(seeds: int) -> Verdict:
        return verdict([[1.0 + seed / 10] for seed in range(seeds)], [[0.5]] * seeds)

    assert "3 seeds: the interval is valid but wide" in of(3).warning
    assert of(5).warning == ""


def test_more_seeds_are_as_many_as_would_tell() -> None:
    arm = [[0.50, 0.61], [0.58, 0.40], [0.66, 0.55]]
    reference = [[0.45, 0.55], [0.57, 0.41], [0.60, 0.52]]
    found = verdict(arm, reference)
    assert found.outcome == "cannot tell"
    assert found.more is not None
    differences = tensor(arm, dtype=float) - tensor(reference, dtype=float)  # pyright: ignore[reportArgumentType]
    assert half_width(differences, 0.95, 3 + found.more) < found.difference <= half_width(differences, 0.95, 2 + found.more)


def test_tables_of_two_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"scores of shapes \(1, 2\) and \(1, 1\); expected one \(seeds, prompts\) of both"):
        verdict([[1.0, 2.0]], [[1.0]])


def test_seeds_that_differ_by_the_very_same_tell_nothing_of_luck() -> None:
    """Two seeds of a score in steps of 1/20, both one step apart: that is no certainty."""
    found = verdict([[0.55], [0.50]], [[0.60], [0.55]])
    assert found.outcome == "cannot tell"
    assert found.to_json()["low"] is None
    assert "nothing is known of luck" in found.warning
    same = verdict([[0.55], [0.50]], [[0.55], [0.50]])
    assert (same.outcome, same.low, same.high) == ("cannot tell", 0.0, 0.0)
