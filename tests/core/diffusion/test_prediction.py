"""Predictions and weightings: exact round trips, the papers' weights, and finite values where a level is 0."""

from __future__ import annotations

import math
from typing import Any, get_args

import pytest
import torch
from cdkit.diffusion.prediction import Name, make_prediction
from cdkit.diffusion.weighting import logit_normal, min_snr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

NAMES = get_args(Name)
PATHS = {"variance preserving": lambda u: (math.cos(u * math.pi / 2), math.sin(u * math.pi / 2)), "flow": lambda u: (1 - u, u)}


def picture(seed: int) -> Tensor:
    return torch.randn((2, 3, 4, 4), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@settings(max_examples=80, deadline=None)
@given(st.sampled_from(NAMES), st.sampled_from(sorted(PATHS)), st.floats(0.01, 0.99))
def test_round_trips(name: Any, path: str, u: float) -> None:
    """Picture and noise -> output -> picture and noise, to 1e-12 of what the division by a small level allows."""
    prediction, (alpha, sigma) = make_prediction(name), PATHS[path](u)
    clean, noise = picture(0), picture(1)
    x = alpha * clean + sigma * noise
    output = prediction.target(clean, noise, alpha, sigma)
    assert torch.allclose(prediction.clean(output, x, alpha, sigma), clean, atol=1e-12, rtol=0)
    assert torch.allclose(prediction.noise(output, x, alpha, sigma), noise, atol=1e-12, rtol=0)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(NAMES), st.sampled_from(NAMES), st.sampled_from(sorted(PATHS)), st.floats(0.01, 0.99))
def test_an_output_of_one_kind_becomes_that_of_another(one: Any, other: Any, path: str, u: float) -> None:
    """epsilon <-> v <-> sample <-> flow by way of the picture and the noise that both stand for."""
    first, second, (alpha, sigma) = make_prediction(one), make_prediction(other), PATHS[path](u)
    x, output = picture(0), picture(1)
    clean, noise = first.clean(output, x, alpha, sigma), first.noise(output, x, alpha, sigma)
    assert torch.allclose(alpha * clean + sigma * noise, x, atol=1e-11, rtol=0)
    translated = second.target(clean, noise, alpha, sigma)
    assert torch.allclose(second.clean(translated, x, alpha, sigma), clean, atol=1e-11, rtol=1e-12)


@pytest.mark.parametrize("name", ["v", "sample", "flow"])
def test_pure_noise_and_no_noise_are_fine(name: Any) -> None:
    prediction, clean, noise = make_prediction(name), picture(0), picture(1)
    at_noise, at_clean = prediction.target(clean, noise, 0.0, 1.0), prediction.target(clean, noise, 1.0, 0.0)
    assert torch.allclose(prediction.clean(at_noise, noise, 0.0, 1.0), clean, atol=1e-15)
    assert torch.allclose(prediction.clean(at_clean, clean, 1.0, 0.0), clean, atol=1e-15)
    assert torch.allclose(prediction.noise(at_noise, noise, 0.0, 1.0), noise, atol=1e-15)


@pytest.mark.parametrize("name", NAMES)
def test_gain_is_the_derivative(name: Any) -> None:
    for path in PATHS.values():
        alpha, sigma = path(0.3)
        prediction, x, output = make_prediction(name), picture(0), picture(1)
        moved = prediction.clean(output + 1, x, alpha, sigma) - prediction.clean(output, x, alpha, sigma)
        gain = prediction.gain(torch.tensor(alpha, dtype=torch.float64), torch.tensor(sigma, dtype=torch.float64))
        assert torch.allclose(moved.abs(), gain.expand_as(moved), atol=1e-12)


@pytest.mark.parametrize("snr", [0.01, 1.0, 4.9, 5.1, 400.0])
def test_min_snr_is_the_papers_weight_for_each_prediction(snr: float) -> None:
    """Hang et al. 2023, section 3.4, gamma 5."""
    alpha, sigma = (torch.tensor([value], dtype=torch.float64).sqrt() for value in (snr / (snr + 1), 1 / (snr + 1)))
    capped = min(snr, 5.0)
    for name, wanted in {"sample": capped, "epsilon": capped / snr, "v": capped / (snr + 1)}.items():
        assert float(min_snr(make_prediction(name), alpha, sigma, 5.0)) == pytest.approx(wanted, rel=1e-12)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", NAMES)
def test_min_snr_weighs_the_pictures_error_whatever_is_predicted(name: Any) -> None:
    alpha, sigma = torch.tensor([0.3], dtype=torch.float64), torch.tensor([0.7], dtype=torch.float64)
    prediction, x, output = make_prediction(name), picture(0), picture(1)
    wrong = output + 0.1 * picture(2)
    error = (prediction.clean(wrong, x, alpha, sigma) - prediction.clean(output, x, alpha, sigma)) ** 2
    weight = min_snr(prediction, alpha, sigma, 5.0)
    assert torch.allclose(weight * (wrong - output) ** 2, (0.3 / 0.7) ** 2 * error, atol=1e-14)


@pytest.mark.parametrize("name", NAMES)
def test_min_snr_is_finite_at_both_ends(name: Any) -> None:
    alpha, sigma = torch.tensor([1.0, 0.0 if name != "epsilon" else 1e-3]), torch.tensor([0.0, 1.0])
    weight = min_snr(make_prediction(name), alpha, sigma, 5.0)
    assert bool(weight.isfinite().all())
    assert bool((weight >= 0).all())


def test_logit_normal_is_that_distribution_and_keeps_its_quantiles() -> None:
    u = torch.rand(20_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    drawn = logit_normal(u)
    assert stats.kstest(torch.logit(drawn).numpy(), "norm").pvalue > 1e-6
    assert torch.equal(drawn.argsort(), u.argsort())
    assert float(logit_normal(torch.tensor(0.5))) == 0.5
    ends = logit_normal(torch.tensor([0.0, 1 - 2**-24]))
    assert bool(((ends >= 0) & (ends < 1)).all())
