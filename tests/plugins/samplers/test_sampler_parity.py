"""Our samplers are diffusers' schedulers wherever the two compute the same thing: float64, to 1e-10.

diffusers computes in float32 throughout, so its own source is run here with float64 in the place of float32; nothing else
of it is changed. Noise is drawn by us and handed to both.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Iterator
from functools import cache, partial
from types import ModuleType
from typing import Any

import pytest
import torch
from cdkit.diffusion.process import Diffusion
from cdkit.parts import Grid
from cdkit_samplers.ddim import Ddim
from cdkit_samplers.ddpm import Ddpm
from cdkit_samplers.dpmpp_2m import Dpmpp2m
from cdkit_samplers.euler import Euler
from cdkit_samplers.euler_ancestral import EulerAncestral
from cdkit_samplers.heun import Heun
from cdkit_samplers.unipc import UniPC
from torch import Tensor

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # numpy 2, inside diffusers

SAMPLE = {"epsilon": "epsilon", "v": "v_prediction", "sample": "sample"}
BETAS = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012, "timestep_spacing": "trailing"}
MULTISTEP = {**BETAS, "final_sigmas_type": "zero"}
FIRST = torch.randn((2, 3, 4, 4), generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@cache
def in_double(module: str) -> ModuleType:
    """A module of diffusers' schedulers, its float32 written as float64."""
    source = inspect.getsource(importlib.import_module(f"diffusers.schedulers.{module}")).replace("float32", "float64")
    made = ModuleType(f"diffusers.schedulers.{module}_in_double")
    made.__package__ = "diffusers.schedulers"
    sys.modules[made.__name__] = made
    exec(compile(source, f"{module} in float64", "exec"), made.__dict__)
    return made


def scheduler(module: str, kind: str, steps: int, prediction: str, **options: Any) -> Any:
    made = getattr(in_double(f"scheduling_{module}"), kind)(prediction_type=SAMPLE[prediction], **options)
    made.set_timesteps(steps)
    return made


def network(x: Tensor, t: float) -> Tensor:
    """Any function will do, as long as it minds both x and t and stays bounded."""
    return torch.tanh(0.6 * x.flip(1) - 0.2 * x) * (0.8 + 0.0003 * t)


def noises() -> Iterator[Tensor]:
    """What two generators draw, one a picture: what our samplers draw."""
    generators = [torch.Generator().manual_seed(seed) for seed in (1, 2)]
    while True:
        yield torch.stack([torch.randn(FIRST.shape[1:], generator=g) for g in generators]).double()


def visiting(timesteps: Tensor) -> Grid:
    """A grid of these steps of training."""
    alpha, sigma = Diffusion(schedule="scaled_linear").levels(timesteps.double())
    one, zero = torch.ones_like(alpha[:1]), torch.zeros_like(alpha[:1])
    return Grid(torch.cat([timesteps.double(), zero]), torch.cat([alpha, one]), torch.cat([sigma, zero]))


def ours(sampler: Any, prediction: Any, grid: Grid) -> Tensor:
    diffusion = Diffusion(schedule="scaled_linear", prediction=prediction)

    def denoise(x: Tensor, i: int) -> Tensor:
        return diffusion.clean_at(network(x, float(grid.t[i])), x, float(grid.alpha[i]), float(grid.sigma[i]))

    return sampler(denoise, FIRST, grid, [torch.Generator().manual_seed(seed) for seed in (1, 2)])


def theirs(made: Any, monkeypatch: pytest.MonkeyPatch, *, exploding: bool = False, **step: Any) -> Tensor:
    """Their loop. `exploding`: their x is ours over alpha, so that its noise is sigma / alpha."""
    drawn = noises()
    module = sys.modules[type(made).__module__]
    if "randn_tensor" in vars(module):
        monkeypatch.setattr(module, "randn_tensor", lambda *_, **__: next(drawn))
    x = FIRST
    if exploding:
        x = x * (made.sigmas[0] ** 2 + 1) ** 0.5
    for t in made.timesteps:
        seen = made.scale_model_input(x, t) if exploding else x
        x = made.step(network(seen, float(t)), t, x, **step).prev_sample
    return x


def compare(sampler: Any, made: Any, prediction: str, steps: int, monkeypatch: pytest.MonkeyPatch, **how: Any) -> None:
    """On core's own grid, which has to be theirs as well."""
    grid = Diffusion(schedule="scaled_linear").grid(steps)
    assert torch.allclose(grid.t[:-1], made.timesteps[:: 1 if len(made.timesteps) == steps else 2].double(), atol=1e-9)
    check(sampler, made, prediction, grid, monkeypatch, **how)


def check(sampler: Any, made: Any, prediction: str, grid: Grid, monkeypatch: pytest.MonkeyPatch, **how: Any) -> None:
    reference = theirs(made, monkeypatch, **how)
    assert reference.dtype == torch.float64
    assert torch.allclose(ours(sampler, prediction, grid), reference, atol=1e-10, rtol=1e-10)


cases = partial(pytest.mark.parametrize, ("prediction", "steps"))
every = cases([(prediction, steps) for prediction in SAMPLE for steps in (1, 2, 10, 50)])


@every
@pytest.mark.parametrize("eta", [0.0, 0.4, 1.0])
def test_ddim(prediction: str, steps: int, eta: float, monkeypatch: pytest.MonkeyPatch) -> None:
    made = scheduler("ddim", "DDIMScheduler", steps, prediction, **BETAS, clip_sample=False)
    compare(Ddim(eta=eta), made, prediction, steps, monkeypatch, eta=eta)


@every
@pytest.mark.parametrize("variance", ["small", "large"])
def test_ddpm(prediction: str, steps: int, variance: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = {"small": "fixed_small", "large": "fixed_large"}[variance]
    leading = {**BETAS, "timestep_spacing": "leading"}  # theirs adds noise at the end unless that is step 0
    made = scheduler("ddpm", "DDPMScheduler", steps, prediction, **leading, clip_sample=False, variance_type=kind)
    check(Ddpm(variance=variance), made, prediction, visiting(made.timesteps), monkeypatch)


@every
def test_euler(prediction: str, steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    made = scheduler("euler_discrete", "EulerDiscreteScheduler", steps, prediction, **BETAS)
    compare(Euler(), made, prediction, steps, monkeypatch, exploding=True)


@cases([(prediction, steps) for prediction in ("epsilon", "v") for steps in (1, 2, 10, 50)])
def test_euler_ancestral(prediction: str, steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Theirs knows no `sample`."""
    made = scheduler("euler_ancestral_discrete", "EulerAncestralDiscreteScheduler", steps, prediction, **BETAS)
    compare(EulerAncestral(), made, prediction, steps, monkeypatch, exploding=True)


@every
def test_heun(prediction: str, steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    made = scheduler("heun_discrete", "HeunDiscreteScheduler", steps, prediction, **BETAS)
    compare(Heun(along="ratio"), made, prediction, steps, monkeypatch, exploding=True)


@every
def test_dpmpp_2m(prediction: str, steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    made = scheduler("dpmsolver_multistep", "DPMSolverMultistepScheduler", steps, prediction, **MULTISTEP)
    compare(Dpmpp2m(), made, prediction, steps, monkeypatch)


@every
@pytest.mark.parametrize("order", [1, 2, 3])
def test_unipc(prediction: str, steps: int, order: int, monkeypatch: pytest.MonkeyPatch) -> None:
    made = scheduler("unipc_multistep", "UniPCMultistepScheduler", steps, prediction, **MULTISTEP, solver_order=order)
    compare(UniPC(order=order), made, prediction, steps, monkeypatch)
