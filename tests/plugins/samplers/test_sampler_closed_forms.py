"""One step of the stochastic samplers against Bayes' rule, at every step of every kind of schedule, in float64."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from cdkit.diffusion.process import Diffusion
from cdkit.parts import Grid
from cdkit_samplers.ddim import Ddim
from cdkit_samplers.ddpm import posterior
from cdkit_samplers.euler_ancestral import EulerAncestral
from cdkit_samplers.step import Step, steps_of
from torch import Tensor

GRIDS = {
    "linear": Diffusion(schedule="linear").grid(1000),
    "cosine, zero terminal SNR": Diffusion(zero_terminal_snr=True).grid(1000),
    "scaled_linear, every seventh": Diffusion(schedule="scaled_linear").grid(143, "leading"),
    "flow": Diffusion(schedule="flow").grid(1000),
}


def bayes(step: Step) -> tuple[float, float, float]:
    """q(x_next | x, clean) as a product of Gaussians: weights of x and clean in its mean, and its variance.

    q(x | x_next) = N(kept x_next, added) and q(x_next | clean) = N(alpha_next clean, sigma_next^2), multiplied.
    """
    kept = step.alpha / step.alpha_next
    added = step.sigma**2 - kept**2 * step.sigma_next**2
    precision = kept**2 / added + 1 / step.sigma_next**2
    return kept / added / precision, step.alpha_next / step.sigma_next**2 / precision, 1 / precision


@pytest.mark.parametrize("name", GRIDS)
def test_ddpm_draws_from_the_posterior_at_every_step(name: str) -> None:
    x, clean = torch.randn((2, 1, 1, 3, 3), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for step in steps_of(GRIDS[name])[:-1]:
        of_x, of_clean, variance = bayes(step)
        mean, deviation = posterior(step, x, clean, "small")
        assert torch.allclose(mean, of_x * x + of_clean * clean, atol=1e-12, rtol=0)
        assert deviation**2 == pytest.approx(variance, abs=1e-12)


def test_the_large_variance_is_that_of_noising() -> None:
    for step in steps_of(GRIDS["linear"])[:-1]:
        beta = 1 - (step.alpha / step.alpha_next) ** 2
        assert posterior(step, torch.zeros(1), torch.zeros(1), "large")[1] ** 2 == pytest.approx(beta, abs=1e-12)


@pytest.mark.parametrize("eta", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("name", GRIDS)
@pytest.mark.parametrize("kind", [Ddim, EulerAncestral])
def test_fresh_noise_has_eta_squared_of_the_posteriors_variance(kind: Any, name: str, eta: float) -> None:
    """The whole next level's noise stays at sigma_next: what is kept of the old and what is new add up to it."""
    grid = GRIDS[name]
    for i in (0, 1, len(grid) // 2, len(grid) - 2):
        step = steps_of(grid)[i]
        new, old = (coefficient(kind(eta=eta), grid, i, of) for of in ("new", "old"))
        assert new**2 == pytest.approx(eta**2 * bayes(step)[2], abs=1e-12)
        assert new**2 + old**2 == pytest.approx(step.sigma_next**2, abs=1e-12)


def coefficient(sampler: Any, grid: Grid, i: int, of: str) -> float:
    """How much of the noise already there, or of the fresh noise, step i alone puts into the next x; the picture is 0."""
    alpha, sigma = (torch.cat([values[i : i + 2], values[-1:]]) for values in (grid.alpha, grid.sigma))
    seen: list[Tensor] = []

    def denoise(x: Tensor, index: int) -> Tensor:
        del index
        seen.append(x)
        return torch.zeros_like(x)

    x = float(sigma[0]) * torch.ones((1, 1, 64, 64), dtype=torch.float64)
    drawn = [torch.Generator().manual_seed(0)]
    sampler(denoise, x, Grid(torch.tensor([2.0, 1.0, 0.0]), alpha, sigma), drawn)
    fresh = torch.randn((1, 64, 64), generator=torch.Generator().manual_seed(0)).double()
    design = torch.stack([torch.ones(64 * 64, dtype=torch.float64), fresh.flatten()], dim=1)
    solved = torch.linalg.lstsq(design, seen[1].flatten().unsqueeze(1)).solution.flatten()
    return float(solved[1 if of == "new" else 0])


def test_ddim_without_eta_repeats_itself_bit_for_bit() -> None:
    grid, x = Diffusion().grid(20), torch.randn(2, 1, 4, 4)
    outs = [Ddim()(lambda x, _: x.tanh(), x, grid, [torch.Generator().manual_seed(seed)] * 2) for seed in (0, 1)]
    assert torch.equal(*outs)


def test_ddim_inverts() -> None:
    """Ten thousand small steps of DDIM up and down lead back (Song et al. 2021, section 5.4), to first order."""
    steps: Sequence[Step] = steps_of(Diffusion(schedule="flow").grid(10_000))

    def clean(x: Tensor, alpha: float, sigma: float) -> Tensor:
        return alpha * 0.25 / (alpha**2 * 0.25 + sigma**2) * x

    start = torch.tensor([0.7, -1.2], dtype=torch.float64)
    x = start
    for step in reversed(steps[:-1]):
        if step.alpha > 0.01:
            seen = clean(x, step.alpha_next, step.sigma_next)
            x = step.alpha * seen + step.sigma * (x - step.alpha_next * seen) / step.sigma_next
    for step in steps[:-1]:
        if step.alpha > 0.01:
            seen = clean(x, step.alpha, step.sigma)
            x = step.to(seen, step.noise(x, seen))
    assert torch.allclose(x, start, atol=2e-3)
    assert math.isfinite(float(x.sum()))


def test_a_posterior_at_pure_noise_forgets_x() -> None:
    """alpha 0: x says nothing, so the next x is the model's picture with noise that is all new."""
    step = Step(0.0, 1.0, 0.3, math.sqrt(1 - 0.09))
    mean, deviation = posterior(step, torch.full((1, 1, 2, 2), 9.0), torch.ones(1, 1, 2, 2), "small")
    assert torch.allclose(mean, torch.full((1, 1, 2, 2), 0.3))
    assert deviation == pytest.approx(step.sigma_next)
    assert (step.h, step.kept) == (math.inf, 0.0)
