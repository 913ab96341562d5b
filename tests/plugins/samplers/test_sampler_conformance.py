"""Our samplers pass the kit that third parties are given, whatever their options, and draw each picture by itself."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from cdkit.diffusion.process import Diffusion
from cdkit.parts import Grid, Sampler
from cdkit.testing import check_sampler
from cdkit_samplers.ddim import Ddim
from cdkit_samplers.ddpm import Ddpm
from cdkit_samplers.dpmpp_2m import Dpmpp2m
from cdkit_samplers.dpmpp_2m_sde import Dpmpp2mSde
from cdkit_samplers.euler import Euler
from cdkit_samplers.euler_ancestral import EulerAncestral
from cdkit_samplers.heun import Heun
from cdkit_samplers.lcm import Lcm
from cdkit_samplers.lms import Lms
from cdkit_samplers.pndm import Pndm
from cdkit_samplers.unipc import UniPC
from torch import Tensor

STOCHASTIC: list[Callable[[], Sampler]] = [Ddpm, partial(Ddpm, variance="large"), partial(Ddim, eta=1.0), EulerAncestral]
STOCHASTIC += [Dpmpp2mSde, Lcm, partial(Lcm, scaling=0.0)]
DETERMINISTIC: list[Callable[[], Sampler]] = [
    Ddim,
    Euler,
    Heun,
    partial(Heun, along="ratio"),
    Dpmpp2m,
    UniPC,
    partial(UniPC, order=3),
    Lms,
    partial(Lms, order=2),
    Pndm,
]
DETERMINISTIC += [partial(UniPC, order=1), partial(EulerAncestral, eta=0.0)]
EXTRAPOLATING = (Lms, Pndm)  # their last step goes on along noises of the past: far off in two or three steps
SCHEDULES: list[dict[str, Any]] = [
    {"schedule": "flow"},
    {"schedule": "cosine"},
    {"schedule": "linear", "zero_terminal_snr": True},
]


def noise(n: int, *, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.stack([torch.randn((1, 4, 4), generator=torch.Generator().manual_seed(i)) for i in range(n)]).to(dtype)


def generators(*seeds: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def linear_denoiser(x: Tensor, i: int) -> Tensor:
    return x * (0.3 + 0.05 * i)


@pytest.mark.parametrize("factory", STOCHASTIC + DETERMINISTIC, ids=repr)
def test_conformance(factory: Any) -> None:
    keeps = {"lands": "its boundary condition keeps a trace of x"} if factory is Lcm else {}
    check_sampler(factory, exceptions=keeps)


@pytest.mark.parametrize("spacing", ["trailing", "leading", "linspace", "karras"])
@pytest.mark.parametrize("options", SCHEDULES, ids=str)
@pytest.mark.parametrize("factory", STOCHASTIC + DETERMINISTIC, ids=repr)
def test_finite_on_every_grid_that_core_makes(factory: Any, options: dict[str, Any], spacing: Any) -> None:
    """Of 1, 2, 3 and 20 steps; pictures denoised to within [-1, 1] end there, up to a little overshoot."""
    for steps in (1, 2, 3, 20):
        grid = Diffusion(**options).grid(steps, spacing)
        for dtype in (torch.float32, torch.float64):
            out = factory()(lambda x, _: x.tanh(), noise(2, dtype=dtype) * float(grid.sigma[0]), grid, generators(1, 2))
            assert out.dtype == dtype
            assert bool(out.isfinite().all())
            assert float(out.abs().max()) < (math.inf if isinstance(factory(), EXTRAPOLATING) else 1.5)


@pytest.mark.parametrize("factory", DETERMINISTIC, ids=repr)
@pytest.mark.parametrize("options", SCHEDULES, ids=str)
def test_linear_in_the_noise_where_the_denoiser_is(factory: Any, options: dict[str, Any]) -> None:
    grid = Diffusion(**options).grid(9)
    one, other = noise(4).chunk(2)
    draw = partial(factory(), linear_denoiser, grid=grid, generators=generators(0, 1))
    assert torch.allclose(draw(3 * one - 2 * other), 3 * draw(one) - 2 * draw(other), atol=1e-10)


@pytest.mark.parametrize("factory", STOCHASTIC, ids=repr)
@pytest.mark.parametrize("size", [1, 2, 7])
def test_a_pictures_fresh_noise_is_its_generators_alone(factory: Any, size: int) -> None:
    """Picture 0 alone, and among others: bit for bit, whatever the others' generators are."""
    grid = Diffusion(schedule="flow").grid(6)
    alone = factory()(linear_denoiser, noise(1), grid, generators(100))
    among = factory()(linear_denoiser, noise(size), grid, generators(100, *range(size - 1)))
    assert torch.equal(among[:1], alone)
    assert not torch.equal(factory()(linear_denoiser, noise(1), grid, generators(101)), alone)


@pytest.mark.parametrize("factory", STOCHASTIC, ids=repr)
def test_one_seed_is_one_noise_in_every_dtype(factory: Any) -> None:
    grid = Diffusion(schedule="flow").grid(6)
    full, half = (factory()(linear_denoiser, noise(2, dtype=d), grid, generators(5, 6)) for d in (torch.float64, torch.float32))
    assert torch.allclose(full.float(), half, atol=1e-5)


@pytest.mark.parametrize("factory", STOCHASTIC, ids=repr)
def test_generators_that_are_not_one_a_picture_are_refused(factory: Any) -> None:
    with pytest.raises(ValueError, match=re.escape("1 generators for 2 pictures; expected one a picture")):
        factory()(linear_denoiser, noise(2), Diffusion().grid(3), generators(0))


@pytest.mark.parametrize("factory", DETERMINISTIC, ids=repr)
def test_deterministic_ones_draw_no_noise(factory: Any) -> None:
    grid = Diffusion(schedule="flow").grid(6)
    drawn = generators(3, 4)
    before = [generator.get_state() for generator in drawn]
    factory()(linear_denoiser, noise(2), grid, drawn)
    assert all(torch.equal(generator.get_state(), state) for generator, state in zip(drawn, before, strict=True))


@pytest.mark.parametrize("factory", STOCHASTIC + DETERMINISTIC, ids=repr)
def test_a_grid_written_by_hand_is_as_good_as_cores(factory: Any) -> None:
    made = Diffusion(schedule="scaled_linear").grid(7)
    by_hand = Grid(*(torch.tensor(values.tolist(), dtype=torch.float64) for values in (made.t, made.alpha, made.sigma)))
    drawn = [factory()(linear_denoiser, noise(2), grid, generators(0, 1)) for grid in (made, by_hand)]
    assert torch.equal(*drawn)


@pytest.mark.parametrize(("factory", "calls"), [(Euler, 10), (Ddim, 10), (Ddpm, 10), (Heun, 19), (Dpmpp2m, 10), (UniPC, 10)])
def test_calls_of_the_model(factory: Any, calls: int) -> None:
    asked: list[int] = []

    def noted(x: Tensor, i: int) -> Tensor:
        asked.append(i)
        return linear_denoiser(x, i)

    factory()(noted, noise(1), Diffusion().grid(10), generators(0))
    assert len(asked) == calls


def test_options_that_mean_the_same_draw_the_same() -> None:
    grid = Diffusion(schedule="flow").grid(12)

    def drawn(sampler: Sampler) -> Tensor:
        return sampler(lambda x, _: x.tanh(), noise(2), grid, generators(0, 1))

    assert torch.allclose(drawn(Ddim()), drawn(Euler()), atol=1e-14)
    assert torch.equal(drawn(Ddim(eta=1.0)), drawn(EulerAncestral()))
    assert torch.allclose(drawn(Ddim(eta=1.0)), drawn(Ddpm()), atol=1e-13)
    for one, other in ((Ddim(), Ddim(eta=0.5)), (Ddpm(), Ddpm(variance="large")), (UniPC(), UniPC(order=3)), (Heun(), Euler())):
        assert not torch.allclose(drawn(one), drawn(other), atol=1e-4)
