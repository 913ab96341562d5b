"""Grids: from where training's noise ends to the clean picture, strictly downhill, finite whatever the schedule."""

from __future__ import annotations

from typing import Any, get_args

import pytest
import torch
from cdkit.diffusion.grid import RHO, WIDEST, Spacing, make_grid
from cdkit.diffusion.schedule import Name, Schedule, make_schedule
from hypothesis import given, settings
from hypothesis import strategies as st

SPACINGS, NAMES = get_args(Spacing), get_args(Name)


def schedule(name: Any, *, steps: int = 1000, zero: bool = False) -> Schedule:
    return make_schedule(name, steps=steps, beta_start=0.00085, beta_end=0.012, zero_terminal_snr=zero)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(NAMES), st.booleans(), st.integers(2, 1000), st.sampled_from(SPACINGS), st.integers(1, 1200))
def test_every_grid_goes_downhill_to_the_clean_picture(name: str, zero: bool, length: int, spacing: Any, steps: int) -> None:
    grid = make_grid(schedule(name, steps=length, zero=zero), steps, spacing)
    assert len(grid) == steps
    for values in (grid.t, grid.alpha, grid.sigma):
        assert (values.dtype, values.device.type, values.shape) == (torch.float64, "cpu", (steps + 1,))
        assert bool(values.isfinite().all())
    assert (float(grid.alpha[-1]), float(grid.sigma[-1])) == (1.0, 0.0)
    assert bool((grid.sigma[:-1] > 0).all())
    assert 0 <= float(grid.t.min()) <= float(grid.t.max()) <= 1000
    assert bool((torch.atan2(grid.sigma, grid.alpha).diff() < 0).all())
    whole = grid.alpha + grid.sigma if name == "flow" else grid.alpha**2 + grid.sigma**2
    assert torch.allclose(whole, torch.ones_like(whole), atol=1e-14, rtol=0)


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("name", NAMES)
def test_a_grid_may_end_at_the_first_level_of_training(name: str, spacing: Any) -> None:
    made = schedule(name)
    clean, first = make_grid(made, 20, spacing), make_grid(made, 20, spacing, "first")
    alpha, sigma = made.pair(torch.ones(1, dtype=torch.float64))
    assert (float(first.alpha[-1]), float(first.sigma[-1])) == (float(alpha), float(sigma))
    assert float(sigma) > 0
    assert len(first) == (19 if spacing in ("linspace", "karras") else 20), "no step leads nowhere"
    assert torch.equal(first.sigma[:-1], clean.sigma[: len(first)])
    assert bool((torch.atan2(first.sigma, first.alpha).diff() < 0).all())


def test_stable_diffusion_ends_where_diffusers_does() -> None:
    from diffusers import DDIMScheduler

    theirs = DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", set_alpha_to_one=False)
    grid = make_grid(schedule("scaled_linear"), 50, "leading", "first")
    assert abs(float(grid.alpha[-1]) ** 2 - float(theirs.final_alpha_cumprod)) < 1e-7


@pytest.mark.parametrize("spacing", ["trailing", "linspace", "karras"])
@pytest.mark.parametrize("name", NAMES)
def test_sampling_begins_where_noising_ends(name: str, spacing: Any) -> None:
    for zero in (False, True):
        made = schedule(name, zero=zero)
        grid = make_grid(made, 7, spacing)
        alpha, sigma = made.pair(torch.tensor([1000.0], dtype=torch.float64))
        assert (float(grid.alpha[0]), float(grid.sigma[0])) == (float(alpha), float(sigma))
        assert (float(grid.alpha[0]) == 0) == (zero or name == "flow")


@pytest.mark.parametrize(("spacing", "offset"), [("trailing", 0), ("leading", 1), ("linspace", 0)])
@pytest.mark.parametrize("steps", [2, 5, 10, 50, 250])
def test_spacings_are_diffusers(spacing: Any, offset: int, steps: int) -> None:
    """Where theirs need not round: ours does not, since between two steps the level is interpolated. Leading: SD's offset."""
    from diffusers import DDIMScheduler

    theirs = DDIMScheduler(timestep_spacing=spacing, steps_offset=offset)
    theirs.set_timesteps(steps)
    ours = make_grid(schedule("linear"), steps, spacing).t[:-1]
    assert (ours - theirs.timesteps).abs().max() <= (0.5 if spacing == "linspace" else 1e-9)


def test_leading_keeps_to_the_steps_of_training() -> None:
    for steps in (1, 3, 30, 400, 999, 1000):
        t = make_grid(schedule("linear"), steps, "leading").t[:-1]
        assert torch.equal(t, t.round())
        assert float(t.max()) <= 999


def test_karras_is_even_in_the_seventh_root_of_the_ratio() -> None:
    grid = make_grid(schedule("scaled_linear"), 12, "karras")
    root = (grid.sigma[:-1] / grid.alpha[:-1]) ** (1 / RHO)
    assert torch.allclose(root.diff(), root.diff().mean().expand(11), atol=1e-12)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # numpy 2, inside diffusers
def test_karras_is_diffusers() -> None:
    from diffusers import EulerDiscreteScheduler

    theirs = EulerDiscreteScheduler(
        beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, use_karras_sigmas=True, timestep_spacing="linspace"
    )
    theirs.set_timesteps(12)
    grid = make_grid(schedule("scaled_linear"), 12, "karras")
    assert torch.allclose((grid.sigma / grid.alpha).float(), theirs.sigmas, rtol=2e-5)
    assert torch.allclose(grid.t[:-1].float(), theirs.timesteps.float(), atol=0.2)  # theirs interpolates log sigma


@pytest.mark.parametrize(("name", "zero"), [("flow", False), ("cosine", True), ("linear", True), ("cosine", False)])
def test_karras_wastes_no_steps_on_infinity(name: str, zero: bool) -> None:
    grid = make_grid(schedule(name, zero=zero), 10, "karras")
    ratio = (grid.sigma / grid.alpha)[1:]
    assert bool((ratio < WIDEST).all())
    assert float(ratio[0]) > WIDEST / 4


def test_a_schedule_of_other_length_has_the_same_spacing() -> None:
    short, long = (make_grid(schedule("flow", steps=n), 8).sigma for n in (100, 1000))
    assert torch.allclose(short, long, atol=1e-15)
    assert make_grid(schedule("cosine", steps=100), 4).t.tolist() == [99.0, 74.0, 49.0, 24.0, 0.0]


def test_more_steps_than_training_had_lie_between_them() -> None:
    for spacing in SPACINGS:
        grid = make_grid(schedule("cosine", steps=10), 25, spacing)
        assert len(grid.sigma.unique()) == 26


def test_no_steps_are_refused() -> None:
    with pytest.raises(ValueError, match="a sampling of 0 steps; expected at least 1"):
        make_grid(schedule("cosine"), 0)
