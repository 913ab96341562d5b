"""The adapter: diffusers' schedulers draw on our grids what our samplers of the same name draw, up to their float32."""

from __future__ import annotations

from typing import Any, get_args

import pytest
import torch
from cdkit.diffusion.process import Diffusion
from cdkit.parts import EnvironmentFault, Grid, Sampler, UsageError
from cdkit.testing.samplers import gaussian
from cdkit_samplers import of_diffusers
from cdkit_samplers.ddim import Ddim
from cdkit_samplers.dpmpp_2m import Dpmpp2m
from cdkit_samplers.euler import Euler
from cdkit_samplers.euler_ancestral import EulerAncestral
from cdkit_samplers.heun import Heun
from cdkit_samplers.lms import Lms
from cdkit_samplers.of_diffusers import FLOW, Name, OfDiffusers
from cdkit_samplers.pndm import Pndm
from cdkit_samplers.unipc import UniPC
from torch import Tensor

pytest.importorskip("diffusers")
pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")

OURS: dict[str, Sampler] = {
    "DDIMScheduler": Ddim(),
    "DPMSolverMultistepScheduler": Dpmpp2m(),
    "EulerAncestralDiscreteScheduler": EulerAncestral(),
    "EulerDiscreteScheduler": Euler(),
    "HeunDiscreteScheduler": Heun(along="ratio"),
    "LMSDiscreteScheduler": Lms(),
    "PNDMScheduler": Pndm(),
    "UniPCMultistepScheduler": UniPC(),
    FLOW: Euler(),
}
SD, FLOWING = Diffusion(schedule="scaled_linear").grid(20, "leading"), Diffusion(schedule="flow").grid(20)
FINE, FINE_FLOW = Diffusion(schedule="scaled_linear").grid(100, "leading"), Diffusion(schedule="flow").grid(100)
FIRST = torch.randn((2, 3, 4, 4), generator=torch.Generator().manual_seed(0))


def drawn(sampler: Sampler, grid: Grid) -> Tensor:
    return sampler(gaussian(grid), FIRST, grid, [torch.Generator().manual_seed(seed) for seed in (1, 2)])


def grid_for(name: str) -> Grid:
    return FLOWING if name == FLOW else SD


@pytest.mark.parametrize("name", OURS)
def test_the_same_picture_as_ours(name: Any) -> None:
    found, expected = drawn(OfDiffusers(scheduler=name), grid_for(name)), drawn(OURS[name], grid_for(name))
    assert found.dtype == torch.float32
    assert torch.allclose(found, expected, atol=2e-3 if name == "LMSDiscreteScheduler" else 2e-4)


@pytest.mark.parametrize("name", get_args(Name))
def test_every_one_lands_near_the_data(name: Any) -> None:
    """Pixels of N(0.3, 0.5^2), drawn by each of the list in 100 steps."""
    grid = FINE_FLOW if name == FLOW else FINE
    x = torch.randn((64, 1, 8, 8), generator=torch.Generator().manual_seed(0))
    out = OfDiffusers(scheduler=name)(gaussian(grid), x, grid, [torch.Generator().manual_seed(seed) for seed in range(64)])
    assert abs(float(out.mean()) - 0.3) < 0.03
    assert abs(float(out.std()) - 0.5) < 0.06


def test_grids_that_they_cannot_follow_are_refused() -> None:
    with pytest.raises(UsageError, match="DDIMScheduler keeps alpha"):
        drawn(OfDiffusers(scheduler="DDIMScheduler"), FLOWING)
    with pytest.raises(UsageError, match="needs some picture at the start"):
        drawn(OfDiffusers(scheduler="EulerDiscreteScheduler"), Diffusion(schedule="linear", zero_terminal_snr=True).grid(4))
    with pytest.raises(UsageError, match="DDIMScheduler ends on the clean picture here"):
        drawn(OfDiffusers(scheduler="DDIMScheduler"), Diffusion(schedule="scaled_linear").grid(4, ends="first"))
    with pytest.raises(UsageError, match="follows a flow; this process is none"):
        drawn(OfDiffusers(scheduler=FLOW), SD)


def test_without_the_library_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(EnvironmentFault, match="its schedulers need diffusers") as caught:
        of_diffusers.library()
    assert caught.value.hint == 'pip install "cdkit[diffusers]"'
