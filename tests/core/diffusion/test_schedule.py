"""Schedules: noise grows, the published formulas hold, zero terminal SNR is exact, and no place breaks alpha^2 + sigma^2 = 1."""

from __future__ import annotations

import math
import re
from typing import Any, get_args

import pytest
import torch
from cdkit.diffusion.schedule import Flow, Name, Table, cosine, linear, make_schedule, scaled_linear, sigmoid, zero_terminal
from hypothesis import given, settings
from hypothesis import strategies as st

TABLES = [name for name in get_args(Name) if name != "flow"]


def made(name: str, **options: Any) -> Any:
    return make_schedule(
        name,  # type: ignore[arg-type]
        **{"steps": 1000, "beta_start": 0.00085, "beta_end": 0.012, "zero_terminal_snr": False, **options},
    )


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(TABLES), st.integers(2, 4000), st.floats(1e-5, 0.01), st.floats(1.0, 50.0), st.booleans())
def test_noise_grows_at_every_step(name: str, steps: int, start: float, growth: float, zero: bool) -> None:
    schedule = made(name, steps=steps, beta_start=start, beta_end=min(start * growth, 0.5), zero_terminal_snr=zero)
    ratio = schedule.alpha / schedule.sigma
    assert bool((ratio.diff() < 0).all())
    assert (float(schedule.alpha[0]), float(schedule.sigma[0])) == (1.0, 0.0)
    assert (float(schedule.alpha[-1]) == 0) >= zero
    assert torch.allclose(schedule.alpha**2 + schedule.sigma**2, torch.ones(steps + 1, dtype=torch.float64), atol=1e-15, rtol=0)


def test_cosine_is_the_papers() -> None:
    """Nichol & Dhariwal 2021: alpha_bar = f(t) / f(0) wherever no beta reaches 0.999."""

    def f(t: float) -> float:
        return math.cos((t / 1000 + 0.008) / 1.008 * math.pi / 2) ** 2

    found = cosine(1000)
    for t in (1, 250, 500, 999):
        assert float(found[t - 1]) == pytest.approx(f(t) / f(0), rel=1e-10)
    assert float(found[-1] / found[-2]) == pytest.approx(0.001, rel=1e-9)


def test_sigmoid_is_the_papers() -> None:
    """Jabri et al. 2022, algorithm 2 with start -3, end 3 and tau 1, between its ends."""

    def g(t: float) -> float:
        low, high = 1 / (1 + math.exp(3)), 1 / (1 + math.exp(-3))
        return (1 / (1 + math.exp(6 * t - 3)) - low) / (high - low)

    found = sigmoid(1000)
    for t in (1, 250, 500, 900):
        assert float(found[t - 1]) == pytest.approx(g(t / 1000), rel=1e-10)


def test_linear_and_scaled_linear_are_diffusers() -> None:
    from diffusers import DDIMScheduler

    for name, ours in (("linear", linear), ("scaled_linear", scaled_linear)):
        theirs = DDIMScheduler(beta_schedule=name, beta_start=0.00085, beta_end=0.012).alphas_cumprod
        assert torch.allclose(ours(1000, 0.00085, 0.012).float(), theirs, rtol=1e-5)


def test_stable_diffusion_ends_in_a_twentieth_of_a_percent_of_signal() -> None:
    """Lin et al. 2023, table 1: sqrt(alpha_bar_T) 0.068265, SNR 0.004682."""
    schedule = made("scaled_linear")
    assert float(schedule.alpha[-1]) == pytest.approx(0.068265, abs=1e-6)
    assert float((schedule.alpha[-1] / schedule.sigma[-1]) ** 2) == pytest.approx(0.004682, abs=1e-6)


@pytest.mark.parametrize("name", TABLES)
def test_zero_terminal_snr_is_exact(name: str) -> None:
    before, after = made(name).alpha ** 2, made(name, zero_terminal_snr=True)
    assert float(after.alpha[-1]) == 0
    assert float(after.sigma[-1]) == 1
    assert float(after.alpha[1]) == float(before.sqrt()[1])
    alpha_bar = before[1:]
    assert float(zero_terminal(alpha_bar)[0]) == float(alpha_bar[0])


def test_zero_terminal_snr_is_diffusers() -> None:
    from diffusers.schedulers.scheduling_ddim import rescale_zero_terminal_snr

    alpha_bar = scaled_linear(1000, 0.00085, 0.012)
    betas = 1 - alpha_bar / torch.cat([torch.ones(1, dtype=torch.float64), alpha_bar[:-1]])
    theirs = torch.cumprod(1 - rescale_zero_terminal_snr(betas), 0)
    assert torch.allclose(zero_terminal(alpha_bar), theirs, atol=1e-12)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(get_args(Name)), st.lists(st.floats(0, 1000), min_size=1, max_size=8))
def test_between_steps_too(name: str, places: list[float]) -> None:
    """Any place has a level on the schedule's own circle (or line), between its neighbours', and is found again by it."""
    schedule, place = made(name), torch.tensor(places, dtype=torch.float64)
    alpha, sigma = schedule.pair(place)
    length = alpha + sigma if name == "flow" else alpha**2 + sigma**2
    assert torch.allclose(length, torch.ones_like(length), atol=1e-14, rtol=0)
    below, above = schedule.pair(place.floor()), schedule.pair(place.ceil())
    assert bool(((alpha <= below[0] + 1e-15) & (alpha >= above[0] - 1e-15)).all())
    angle = torch.atan2(sigma, alpha)
    refound = torch.atan2(*schedule.pair(schedule.reached(angle))[::-1])
    assert torch.allclose(refound, angle, atol=1e-13, rtol=0)
    assert torch.allclose(schedule.place(schedule.told(place.clamp(min=1))), place.clamp(min=1), atol=1e-10)


def test_whole_places_have_the_tables_own_bits() -> None:
    schedule = made("cosine", zero_terminal_snr=True)
    alpha, sigma = schedule.pair(torch.arange(1001, dtype=torch.float64))
    assert torch.equal(alpha, schedule.alpha)
    assert torch.equal(sigma, schedule.sigma)


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(get_args(Name)), st.floats(0.001, 999), st.floats(0.001, 999))
def test_noising_in_two_goes_is_noising_in_one(name: str, one: float, other: float) -> None:
    """alpha_t = alpha_{t|s} alpha_s and sigma_t^2 = alpha_{t|s}^2 sigma_s^2 + sigma_{t|s}^2 with a variance >= 0."""
    s, t = sorted((one, other))
    alpha, sigma = (level.tolist() for level in made(name).pair(torch.tensor([s, t], dtype=torch.float64)))
    kept = alpha[1] / alpha[0]
    added = sigma[1] ** 2 - kept**2 * sigma[0] ** 2
    assert added >= -1e-14
    if name != "flow":
        beta = 1 - kept**2  # variance preserving: what is added is what was taken away
        assert added == pytest.approx(beta, abs=1e-12)


def test_flow_is_a_straight_line() -> None:
    alpha, sigma = Flow(1000).pair(torch.tensor([0.0, 250.0, 1000.0]))
    assert alpha.tolist() == [1.0, 0.75, 0.0]
    assert sigma.tolist() == [0.0, 0.25, 1.0]
    assert Flow(500).told(torch.tensor([500.0, 125.0])).tolist() == [1000.0, 250.0]
    beyond = Flow(1000).pair(torch.tensor([-1.0, 1001.0, 3000.0]))
    assert [part.tolist() for part in beyond] == [[1.0, 0.0, 0.0], [0.0, 1.0, 1.0]], "neither end is passed"


def test_what_is_no_schedule_is_refused() -> None:
    with pytest.raises(ValueError, match=re.escape("beta_start 0.02 and beta_end 0.01; expected 0 < beta_start <= beta_end < 1")):
        made("linear", beta_start=0.02, beta_end=0.01)
    for start, end in ((0.0, 0.02), (0.5, 1.0), (0.5, 1.5)):
        with pytest.raises(ValueError, match="expected 0 < beta_start <= beta_end < 1"):
            made("linear", beta_start=start, beta_end=end)
    with pytest.raises(ValueError, match="at least 2 steps: the first stays, the last becomes pure noise"):
        made("cosine", steps=1, zero_terminal_snr=True)
    with pytest.raises(ValueError, match="has to grow at every step"):
        Table(torch.tensor([0.9, 0.9, 0.5]))
    with pytest.raises(ValueError, match="from none to at most all"):
        Table(torch.tensor([0.5, -0.1]))


def test_tables_follow_the_device_and_not_its_default() -> None:
    with torch.device("meta"):
        schedule = made("linear")
    assert schedule.alpha.device.type == "cpu"
    alpha, _ = schedule.pair(torch.zeros(3, device="meta"))
    assert (alpha.device.type, alpha.dtype) == ("meta", torch.float64)
