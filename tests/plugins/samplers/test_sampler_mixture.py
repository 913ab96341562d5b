"""Stochastic samplers draw the distribution itself: a conditional mixture of two Gaussians with its exact denoiser.

16,384 draws a sampler in 500 steps; means, covariances and weights of both modes under both conditions lie within four
standard errors of the truth. (Ancestral steps of finite length draw a little too little variance: 1 to 3 in a hundred here,
in closed form for a Gaussian, falling with 1 / S.)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from cdkit.diffusion.process import Diffusion
from cdkit.parts import Grid
from cdkit_samplers.ddim import Ddim
from cdkit_samplers.ddpm import Ddpm
from cdkit_samplers.dpmpp_2m_sde import Dpmpp2mSde
from cdkit_samplers.euler_ancestral import EulerAncestral
from einops import rearrange
from torch import Tensor

PICTURES, SIDE, STEPS = 16, 32, 500  # every pixel is a draw, its two channels the two coordinates
COVARIANCES = torch.tensor([[[0.09, 0.05], [0.05, 0.16]], [[0.2, -0.08], [-0.08, 0.1]]], dtype=torch.float64)


@dataclass(frozen=True)
class Mixture:
    """What one condition says: two modes, far apart, with these means and the first one's weight."""

    means: Tensor  # (2, 2)
    weight: float

    def posterior_mean(self, x: Tensor, alpha: float, sigma: float) -> Tensor:
        """E[clean | x] of x (N, 2)."""
        noisy = alpha**2 * COVARIANCES + sigma**2 * torch.eye(2, dtype=torch.float64)
        away = rearrange(x, "n c -> n 1 c") - alpha * self.means
        precision = torch.linalg.inv(noisy)
        solved = torch.einsum("kij,nkj->nki", precision, away)
        log = torch.tensor([self.weight, 1 - self.weight], dtype=torch.float64).log() - torch.linalg.det(noisy).log() / 2
        share = torch.softmax(log - (away * solved).sum(-1) / 2, dim=1)
        centres = self.means + alpha * torch.einsum("kij,nkj->nki", COVARIANCES, solved)
        return (share.unsqueeze(-1) * centres).sum(1)


CONDITIONS = (
    Mixture(torch.tensor([[-2.0, 1.0], [3.0, -1.0]], dtype=torch.float64), 0.3),
    Mixture(torch.tensor([[1.0, 3.0], [0.0, -2.5]], dtype=torch.float64), 0.8),
)


def drawn(sampler: Any, grid: Grid) -> Tensor:
    """(2, N, 2): draws under either condition; even pictures are told the first, odd ones the second."""

    def denoise(x: Tensor, i: int) -> Tensor:
        alpha, sigma = float(grid.alpha[i]), float(grid.sigma[i])
        flat = rearrange(x, "(p k) c h w -> k (p h w) c", k=2)
        clean = torch.stack([mixture.posterior_mean(flat[k], alpha, sigma) for k, mixture in enumerate(CONDITIONS)])
        return rearrange(clean, "k (p h w) c -> (p k) c h w", h=SIDE, w=SIDE)

    start = torch.randn((PICTURES, 2, SIDE, SIDE), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    out = sampler(denoise, start, grid, [torch.Generator().manual_seed(1 + i) for i in range(PICTURES)])
    return rearrange(out, "(p k) c h w -> k (p h w) c", k=2)


def check_mode(found: Tensor, mean: Tensor, covariance: Tensor) -> None:
    n = len(found)
    for error, variance in zip(found.mean(0) - mean, covariance.diagonal(), strict=True):
        assert abs(float(error)) < 4 * math.sqrt(float(variance) / n)
    estimate = torch.cov(found.T)
    for i in range(2):
        for j in range(2):
            spread = float(covariance[i, i] * covariance[j, j] + covariance[i, j] ** 2)  # Isserlis
            assert abs(float(estimate[i, j] - covariance[i, j])) < 4 * math.sqrt(spread / n)


def check(samples: Tensor) -> None:
    for mixture, found in zip(CONDITIONS, samples, strict=True):
        first = (found - mixture.means[0]).norm(dim=1) < (found - mixture.means[1]).norm(dim=1)
        n, weight = len(found), mixture.weight
        assert abs(int(first.sum()) / n - weight) < 4 * math.sqrt(weight * (1 - weight) / n)
        check_mode(found[first], mixture.means[0], COVARIANCES[0])
        check_mode(found[~first], mixture.means[1], COVARIANCES[1])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sampler", "schedule"),
    [(Ddpm(), "flow"), (Ddpm(), "cosine"), (Ddim(eta=1.0), "flow"), (EulerAncestral(), "flow"), (Dpmpp2mSde(), "flow")],
    ids=repr,
)
def test_a_conditional_mixture_is_drawn(sampler: Any, schedule: Any) -> None:
    check(drawn(sampler, Diffusion(schedule=schedule).grid(STEPS)))


def test_the_check_notices_coarse_steps_and_swapped_conditions() -> None:
    samples = drawn(Ddpm(), Diffusion(schedule="flow").grid(25))
    with pytest.raises(AssertionError):
        check(samples)
    with pytest.raises(AssertionError):
        check(samples.flip(0))
