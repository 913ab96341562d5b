"""The process as a whole: which options go together, what training draws, and that training and sampling agree."""

from __future__ import annotations

from typing import Any, get_args

import pytest
import torch
from cdkit.diffusion.prediction import Name as Prediction
from cdkit.diffusion.process import Diffusion
from cdkit.diffusion.schedule import Name as Schedule
from scipy import stats
from torch import Tensor

PAIRS = [
    (schedule, prediction, zero)
    for schedule in get_args(Schedule)
    for prediction in get_args(Prediction)
    for zero in (False, True)
    if prediction != "epsilon" or not (zero or schedule == "flow")
]


def picture(seed: int, *, n: int = 5, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn((n, 2, 3, 3), generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


@pytest.mark.parametrize(
    ("options", "cause"), [({"zero_terminal_snr": True}, "zero_terminal_snr"), ({"schedule": "flow"}, "schedule flow")]
)
def test_epsilon_where_nothing_is_left_is_refused_with_the_reason(options: dict[str, Any], cause: str) -> None:
    reason = rf"prediction epsilon with {cause}: .*nothing of the picture is left.*divided by 0.*expected v, sample or flow"
    with pytest.raises(ValueError, match=reason):
        Diffusion(prediction="epsilon", **options)


@pytest.mark.parametrize("steps", [0, 1001])
def test_times_outside_of_what_a_network_is_told_are_refused(steps: int) -> None:
    with pytest.raises(ValueError, match=rf"steps {steps}; expected 1 to 1000, since the network is told times in \[0, 1000\]"):
        Diffusion(steps=steps)


@pytest.mark.parametrize(("schedule", "prediction", "zero"), PAIRS)
def test_every_other_pair_learns_and_samples_finitely_and_exactly(schedule: Any, prediction: Any, zero: bool) -> None:
    """The target at any time is turned back into the picture, in training and at every step of a grid."""
    diffusion = Diffusion(schedule=schedule, prediction=prediction, zero_terminal_snr=zero, weighting="min_snr")
    clean, noise = picture(0), picture(1)
    t = diffusion.times(torch.tensor([0.0, 0.001, 0.5, 0.99, 1 - 2**-24], dtype=torch.float64))
    x, output = diffusion.noised(clean, noise, t), diffusion.target(clean, noise, t)
    signal = diffusion.levels(t)[0].min() if prediction == "epsilon" else 1.0
    assert torch.allclose(diffusion.clean(output, x, t), clean, atol=1e-12 / float(signal), rtol=0)
    assert bool(diffusion.weight(t).isfinite().all())
    grid = diffusion.grid(7)
    for alpha, sigma in zip(grid.alpha.tolist(), grid.sigma.tolist(), strict=True):
        x = alpha * clean + sigma * noise
        output = diffusion.prediction.target(clean, noise, alpha, sigma)
        assert torch.allclose(diffusion.clean_at(output, x, alpha, sigma), clean, atol=1e-11, rtol=0)


@pytest.mark.parametrize("schedule", get_args(Schedule))
def test_a_step_of_a_grid_is_the_time_that_training_tells(schedule: Any) -> None:
    """What the network is told while sampling stands for the same noise as in training."""
    diffusion = Diffusion(schedule=schedule)
    for spacing in ("trailing", "leading", "linspace", "karras"):
        grid = diffusion.grid(9, spacing)
        alpha, sigma = diffusion.levels(grid.t[:-1])
        assert torch.allclose(alpha, grid.alpha[:-1], atol=1e-12)
        assert torch.allclose(sigma, grid.sigma[:-1], atol=1e-12)


def test_every_step_of_training_is_drawn_equally_often() -> None:
    u = torch.rand(50_000, generator=torch.Generator().manual_seed(0))
    t = Diffusion(steps=100).times(u)
    counts = torch.bincount(t.long(), minlength=100)
    assert len(counts) == 100
    assert int(counts.min()) > 0
    assert stats.chisquare(counts.numpy()).pvalue > 1e-6
    assert torch.equal(t, t.round())
    assert Diffusion().times(torch.tensor([0.0, 1 - 2**-24])).tolist() == [0.0, 999.0]


def test_flow_times_are_uniform_or_logit_normal() -> None:
    u = torch.rand(20_000, generator=torch.Generator().manual_seed(0))
    uniform = Diffusion(schedule="flow").times(u) / 1000
    logit_normal = Diffusion(schedule="flow", times="logit_normal").times(u) / 1000
    assert stats.kstest(uniform.numpy(), "uniform").pvalue > 1e-6
    assert stats.kstest(torch.logit(logit_normal.double()).numpy(), "norm").pvalue > 1e-6
    assert stats.kstest(logit_normal.numpy(), "uniform").pvalue < 1e-6


def test_logit_normal_steps_go_as_far_as_24_random_bits_do() -> None:
    """A normal beyond 5.3 standard deviations is rarer than one in 2^24, so the last four steps of 1,000 are not met."""
    t = Diffusion(times="logit_normal").times(torch.tensor([0.0, 0.5, 1 - 2**-24]))
    assert t.tolist() == [0.0, 500.0, 995.0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_results_have_the_pictures_dtype_and_half_precision_is_mixed_in_full(dtype: torch.dtype) -> None:
    diffusion, t = Diffusion(prediction="v"), torch.tensor([3.0, 100.0, 500.0, 900.0, 999.0])
    clean, noise = picture(0, dtype=dtype), picture(1, dtype=dtype)
    exact = diffusion.noised(clean.double(), noise.double(), t)
    for found in (diffusion.noised(clean, noise, t), diffusion.target(clean, noise, t), diffusion.clean(noise, clean, t)):
        assert found.dtype == dtype
    wrong = (diffusion.noised(clean, noise, t).double() - exact).abs()
    if dtype in (torch.bfloat16, torch.float16):  # rounded once, at the end: half a unit in the last place
        assert bool((wrong <= exact.abs() * torch.finfo(dtype).eps / 2 * 1.01 + 1e-6).all())
    assert float(wrong.max()) <= 4 * torch.finfo(dtype).eps


def test_each_picture_has_its_own_time() -> None:
    diffusion, clean, noise = Diffusion(), picture(0), picture(1)
    t = torch.tensor([0.0, 250.0, 500.0, 750.0, 999.0])
    whole = diffusion.noised(clean, noise, t)
    for i in range(5):
        assert torch.equal(diffusion.noised(clean[i : i + 1], noise[i : i + 1], t[i : i + 1])[0], whole[i])
    assert torch.equal(diffusion.noised(clean.flatten(1), noise.flatten(1), t), whole.flatten(1))


def test_uniform_weighting_weighs_all_alike_and_min_snr_does_not() -> None:
    t = torch.tensor([0.0, 500.0, 999.0])
    assert Diffusion().weight(t).tolist() == [1.0, 1.0, 1.0]
    weight = Diffusion(weighting="min_snr", gamma=5.0, prediction="sample").weight(t)
    assert float(weight[0]) == 5.0
    assert float(weight[2]) < 1e-6


def test_tables_made_in_inference_can_train() -> None:
    diffusion = Diffusion()
    with torch.inference_mode():
        diffusion.levels(torch.tensor([3.0]))
    output = torch.zeros(1, 1, 2, 2, requires_grad=True)
    diffusion.clean(output, torch.ones(1, 1, 2, 2), torch.tensor([500.0])).sum().backward()
    assert output.grad is not None
    assert bool((output.grad < 0).all())
