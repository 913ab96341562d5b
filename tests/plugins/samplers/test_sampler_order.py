"""Each deterministic sampler converges as fast as theory says, against the exact flow of a Gaussian.

Data N(0.3, 0.5^2) in every pixel: the denoiser is the posterior mean in closed form, and the probability flow takes
x = alpha m + d sqrt(alpha^2 s^2 + sigma^2) to m + d s. What is measured is the whole sampling, its last step included.

- `even`: lambda from -4 to 12 in equal steps, then the clean picture. The only grid on which a multistep method in lambda
  has a step that shrinks everywhere.
- `flow`: core's own, s in equal steps from 1, so alpha begins at 0.
- `karras`: core's own on a flow, sigma / alpha from 160 to 0.001.

On variance-preserving grids of finite training steps every sampler, whatever its order, keeps what its last step leaves:
the posterior mean instead of the flow's end, sigma^2 / 2 of the data's own scale at the last noise level.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from cdkit.diffusion.process import Diffusion
from cdkit.parts import Denoise, Grid, Sampler
from cdkit_samplers.ddim import Ddim
from cdkit_samplers.dpmpp_2m import Dpmpp2m
from cdkit_samplers.euler import Euler
from cdkit_samplers.heun import Heun
from cdkit_samplers.lms import Lms
from cdkit_samplers.pndm import Pndm
from cdkit_samplers.unipc import UniPC
from torch import Tensor

MEAN, DEVIATION = 0.3, 0.5
STEPS = (32, 64, 128, 256, 512, 1024)


def even(steps: int) -> Grid:
    ratio = torch.linspace(-4, 12, steps, dtype=torch.float64)
    alpha, sigma = torch.sigmoid(2 * ratio).sqrt(), torch.sigmoid(-2 * ratio).sqrt()
    one, zero = torch.ones(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    return Grid(torch.linspace(999, 0, steps + 1, dtype=torch.float64), torch.cat([alpha, one]), torch.cat([sigma, zero]))


GRIDS: dict[str, Callable[[int], Grid]] = {
    "even": even,
    "flow": Diffusion(schedule="flow").grid,
    "karras": partial(Diffusion(schedule="flow").grid, spacing="karras"),
}


def posterior_mean(grid: Grid) -> Denoise:
    def denoise(x: Tensor, i: int) -> Tensor:
        alpha, sigma = float(grid.alpha[i]), float(grid.sigma[i])
        return MEAN + alpha * DEVIATION**2 / (alpha**2 * DEVIATION**2 + sigma**2) * (x - alpha * MEAN)

    return denoise


def error(sampler: Sampler, grid: Grid) -> float:
    """The largest distance from where the flow ends, for starts within 2.5 standard deviations."""
    x = torch.linspace(-2.5, 2.5, 11, dtype=torch.float64).reshape(-1, 1, 1, 1)
    alpha, sigma = float(grid.alpha[0]), float(grid.sigma[0])
    end = MEAN + DEVIATION * (x - alpha * MEAN) / math.hypot(alpha * DEVIATION, sigma)
    return float((sampler(posterior_mean(grid), x, grid, []) - end).abs().max())


def slope(sampler: Sampler, grid: Callable[[int], Grid], steps: tuple[int, ...]) -> float:
    """How fast the logarithm of the error falls with that of S, fitted by least squares."""
    errors = [error(sampler, grid(n)) for n in steps]
    return -float(np.polyfit(np.log(steps), np.log(errors), 1)[0])


@pytest.mark.parametrize(
    ("sampler", "order", "grid", "steps"),
    [
        (Ddim(), 1, "even", STEPS),
        (Ddim(), 1, "flow", STEPS),
        (Ddim(), 1, "karras", STEPS),
        (Euler(), 1, "even", STEPS),
        (Euler(), 1, "flow", STEPS),
        (Heun(), 2, "even", STEPS),
        (Heun(), 2, "flow", STEPS),
        (Heun(), 2, "karras", STEPS[:5]),
        (Heun(along="ratio"), 2, "even", STEPS),
        (Heun(along="ratio"), 2, "karras", STEPS[:5]),
        (Dpmpp2m(), 2, "even", STEPS),
        (Dpmpp2m(), 2, "karras", STEPS[:5]),
        (UniPC(), 2, "even", STEPS),
        (UniPC(), 2, "flow", STEPS),
        (UniPC(), 2, "karras", STEPS[:4]),
        (UniPC(order=1), 1, "even", STEPS),
        (UniPC(order=3), 3, "even", STEPS),
        (Lms(), 2, "even", STEPS),
        (Lms(order=1), 1, "even", STEPS),
        (Pndm(), 2, "even", STEPS),
    ],
    ids=repr,
)
def test_order(sampler: Any, order: int, grid: str, steps: tuple[int, ...]) -> None:
    assert slope(sampler, GRIDS[grid], steps) >= order - 0.1


def test_the_corrector_is_worth_an_order() -> None:
    """UniPC of order p is measured at p + 1 for p 1 and 2, as its paper claims (theorem 3.1)."""
    for p in (1, 2):
        assert slope(UniPC(order=p), even, STEPS[1:]) >= p + 0.9


def test_what_every_sampler_leaves_is_the_last_steps_posterior_mean() -> None:
    """On Stable Diffusion's schedule with Karras' spacing the error of order 3 stops falling at sigma^2 / (2 s) of d."""
    grid = Diffusion(schedule="scaled_linear").grid(400, "karras")
    ratio = float(grid.sigma[-2] / grid.alpha[-2])
    farthest = 2.5 / math.hypot(float(grid.alpha[0]) * DEVIATION, float(grid.sigma[0]))
    left = DEVIATION * farthest * (1 - 1 / math.sqrt(1 + (ratio / DEVIATION) ** 2))
    for sampler in (UniPC(), UniPC(order=3)):
        assert error(sampler, grid) == pytest.approx(left, rel=0.05)


def test_one_step_is_the_posterior_mean() -> None:
    for sampler in (Ddim(), Euler(), Heun(), Dpmpp2m(), UniPC()):
        grid = Diffusion(schedule="flow").grid(1)
        out = sampler(posterior_mean(grid), torch.randn(3, 1, 2, 2, dtype=torch.float64), grid, [])
        assert torch.allclose(out, torch.full_like(out, MEAN), atol=1e-14)
