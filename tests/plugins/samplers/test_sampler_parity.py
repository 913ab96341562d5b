"""Our samplers are diffusers' schedulers wherever the two compute the same thing: float64, to 1e-10.

diffusers computes in float32 throughout, so its own source is run here with float64 in the place of float32; nothing else
of it is changed. Noise is drawn by us and handed to both.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from cdkit.diffusion.process import Diffusion
from cdkit.parts import Grid
from cdkit_samplers import dpmpp_2m_sde, lms, pndm
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
from cdkit_samplers.step import Step
from cdkit_samplers.unipc import UniPC
from torch import Tensor

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # numpy 2, inside diffusers

SAMPLE = {"epsilon": "epsilon", "v": "v_prediction", "sample": "sample"}
BETAS = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
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


STEPS = (1, 2, 10, 50)
SPACINGS = ("trailing", "leading", "linspace")
EVERY = tuple(SAMPLE)


@dataclass(frozen=True)
class Peer:
    """One of ours, whose scheduler it is, the predictions that that one knows, and how it is stepped."""

    sampler: Any
    module: str
    kind: str
    predictions: tuple[str, ...] = EVERY
    options: dict[str, Any] = field(default_factory=dict[str, Any])
    step: dict[str, Any] = field(default_factory=dict[str, Any])
    exploding: bool = False  # their x is ours over alpha, so that its noise is sigma / alpha
    spacings: tuple[str, ...] = SPACINGS
    off: float = 1e-10


ZERO = {"final_sigmas_type": "zero"}
WHOLE = {"clip_sample": False, "set_alpha_to_one": True}
LARGE = {"clip_sample": False, "variance_type": "fixed_large"}
PLMS = {"set_alpha_to_one": True, "skip_prk_steps": True}
SDE = {**ZERO, "algorithm_type": "sde-dpmsolver++"}
EVEN, LEADING = ("trailing", "leading"), ("leading",)
PEERS = {
    # With `linspace` theirs (and PNDM) steps by T // S, and so to levels beside those that it visits.
    "ddim": Peer(Ddim(), "ddim", "DDIMScheduler", options=WHOLE, spacings=EVEN),
    "ddim eta 0.4": Peer(Ddim(eta=0.4), "ddim", "DDIMScheduler", options=WHOLE, step={"eta": 0.4}, spacings=EVEN),
    "ddim eta 1": Peer(Ddim(eta=1.0), "ddim", "DDIMScheduler", options=WHOLE, step={"eta": 1.0}, spacings=EVEN),
    # Theirs adds noise at its end unless that is step 0 of training, which `leading` alone ends on.
    "ddpm": Peer(Ddpm(), "ddpm", "DDPMScheduler", options={"clip_sample": False}, spacings=LEADING),
    "ddpm large": Peer(Ddpm(variance="large"), "ddpm", "DDPMScheduler", options=LARGE, spacings=LEADING),
    # Theirs knows no `sample`, and with `v` it combines what the network says, not the noises: another method.
    "pndm": Peer(Pndm(), "pndm", "PNDMScheduler", ("epsilon",), PLMS, spacings=EVEN),
    "lms": Peer(Lms(), "lms_discrete", "LMSDiscreteScheduler", exploding=True),
    "lms 2": Peer(Lms(order=2), "lms_discrete", "LMSDiscreteScheduler", step={"order": 2}, exploding=True),
    "euler": Peer(Euler(), "euler_discrete", "EulerDiscreteScheduler", exploding=True),
    # Theirs knows no `sample`.
    "euler_ancestral": Peer(
        EulerAncestral(), "euler_ancestral_discrete", "EulerAncestralDiscreteScheduler", ("epsilon", "v"), exploding=True
    ),
    "heun": Peer(Heun(along="ratio"), "heun_discrete", "HeunDiscreteScheduler", exploding=True),
    "dpmpp_2m": Peer(Dpmpp2m(), "dpmsolver_multistep", "DPMSolverMultistepScheduler", options=ZERO),
    "dpmpp_2m_sde": Peer(Dpmpp2mSde(), "dpmsolver_multistep", "DPMSolverMultistepScheduler", options=SDE),
    "unipc 1": Peer(UniPC(order=1), "unipc_multistep", "UniPCMultistepScheduler", options={**ZERO, "solver_order": 1}),
    "unipc": Peer(UniPC(order=2), "unipc_multistep", "UniPCMultistepScheduler", options={**ZERO, "solver_order": 2}),
    "unipc 3": Peer(UniPC(order=3), "unipc_multistep", "UniPCMultistepScheduler", options={**ZERO, "solver_order": 3}),
    # Theirs multiplies whole times by its scaling, which torch does in float32 whatever the rest is in.
    "lcm": Peer(Lcm(), "lcm", "LCMScheduler", options={"clip_sample": False}, spacings=LEADING, off=1e-6),
}
CELLS = [
    (name, prediction, spacing, steps)
    for name, peer in PEERS.items()
    for prediction in peer.predictions
    for spacing in peer.spacings
    for steps in STEPS
]


def table() -> str:
    """What is compared, as docs/samplers.md shows it."""
    head = "| ours | theirs | predictions | spacings | cells | within |\n|---|---|---|---|---|---|"
    rows = [
        f"| `{name}` | {peer.kind} | {', '.join(peer.predictions)} | {', '.join(peer.spacings)} "
        f"| {len(peer.predictions) * len(peer.spacings) * len(STEPS)} | {peer.off:g} |"
        for name, peer in PEERS.items()
    ]
    flow = "| `euler` | FlowMatchEulerDiscreteScheduler | flow | its own | 4 | 1e-10 |"
    return "\n".join([head, *rows, flow, "", f"{len(CELLS)} cells, and the flow's."])


def test_the_page_shows_what_is_compared() -> None:
    page = (Path(__file__).parents[3] / "docs" / "samplers.md").read_text(encoding="utf-8")
    assert page.partition("<!-- parity -->\n")[2].partition("\n\n**Left out")[0] == table(), table()


def grid_of(peer: Peer, made: Any) -> Grid:
    """The levels that a scheduler visits, each once, out of its own tables."""
    if peer.kind == "PNDMScheduler":
        return visiting(torch.from_numpy(made._timesteps[::-1].copy()))
    if not peer.exploding:
        return visiting(made.timesteps)
    every_one = range(len(made.timesteps))
    once = [0, *every_one[1::2]] if peer.kind == "HeunDiscreteScheduler" else list(every_one)
    t, ratio = made.timesteps.double()[once], made.sigmas.double()[once]
    one, zero, scale = torch.ones_like(t[:1]), torch.zeros_like(t[:1]), (1 + ratio**2).sqrt()
    return Grid(torch.cat([t, zero]), torch.cat([1 / scale, one]), torch.cat([ratio / scale, zero]))


def theirs(peer: Peer, made: Any, monkeypatch: pytest.MonkeyPatch) -> Tensor:
    """Their loop, drawing our noise."""
    drawn = noises()
    module = sys.modules[type(made).__module__]
    if "randn_tensor" in vars(module):
        monkeypatch.setattr(module, "randn_tensor", lambda *_, **__: next(drawn))
    x = FIRST * (made.sigmas[0] ** 2 + 1) ** 0.5 if peer.exploding else FIRST
    for t in made.timesteps:
        seen = made.scale_model_input(x, t) if peer.exploding else x
        x = made.step(network(seen, float(t)), t, x, **peer.step).prev_sample
    return x


@pytest.mark.parametrize(("name", "prediction", "spacing", "steps"), CELLS)
def test_parity(name: str, prediction: str, spacing: str, steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    peer = PEERS[name]
    told = {**BETAS, "timestep_spacing": spacing, **peer.options}
    made = scheduler(peer.module, peer.kind, steps, prediction, **told)
    found, reference = ours(peer.sampler, prediction, grid_of(peer, made)), theirs(peer, made, monkeypatch)
    assert reference.dtype == torch.float64
    assert torch.allclose(found, reference, atol=peer.off, rtol=peer.off)


def test_there_are_cells_enough() -> None:
    assert len(CELLS) >= 96


SAME_GRID = [(spacing, steps) for spacing in SPACINGS for steps in (1, 2, 5, 10, 50) if (spacing, steps) != ("linspace", 1)]


@pytest.mark.parametrize(("spacing", "steps"), SAME_GRID)
def test_our_grids_are_theirs(spacing: Any, steps: int) -> None:
    """Where S divides the steps of training; `linspace`, which theirs rounds, to half a step. Of one step theirs is another."""
    made = scheduler("ddim", "DDIMScheduler", steps, "epsilon", **{**BETAS, "timestep_spacing": spacing, "steps_offset": 1})
    off = (Diffusion(schedule="scaled_linear").grid(steps, spacing).t[:-1] - made.timesteps.double()).abs().max()
    assert float(off) <= (0.5 if spacing == "linspace" else 1e-9)


@pytest.mark.parametrize("steps", STEPS)
def test_flow_match_euler(steps: int) -> None:
    """`euler` on a flow is rectified flow's own step."""
    diffusion = Diffusion(schedule="flow", prediction="flow")
    grid = diffusion.grid(steps)
    made = in_double("scheduling_flow_match_euler_discrete").FlowMatchEulerDiscreteScheduler()
    made.set_timesteps(sigmas=grid.sigma[:-1].numpy())
    x = FIRST
    for t in made.timesteps:
        x = made.step(network(x, float(t)), t, x).prev_sample

    def denoise(at: Tensor, i: int) -> Tensor:
        return diffusion.clean_at(network(at, float(made.timesteps[i])), at, float(grid.alpha[i]), float(grid.sigma[i]))

    assert torch.allclose(Euler()(denoise, FIRST, grid, []), x, atol=1e-10, rtol=1e-10)


def half_a_step_too_far(monkeypatch: pytest.MonkeyPatch) -> None:
    right = Step.h.fget
    assert right is not None
    monkeypatch.setattr(Step, "h", property(lambda step: 1.01 * right(step)))


def noise_of_the_wrong_sign(monkeypatch: pytest.MonkeyPatch) -> None:
    right = Step.noise
    monkeypatch.setattr(Step, "noise", lambda step, x, clean: -right(step, x, clean))


def shares_exchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(pndm.SHARES, 2, (-1 / 2, 3 / 2))


def one_place_off(monkeypatch: pytest.MonkeyPatch) -> None:
    right = lms.integrals
    monkeypatch.setattr(lms, "integrals", lambda places, end: right(places, 1.001 * end + 1e-3))


def too_little_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dpmpp_2m_sde, "spread", lambda step: 0.999 * step.sigma_next * (1 - step.kept**2) ** 0.5)


def boundary_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Lcm, "_shares", lambda *_: (0.0, 1.0))


MUTANTS = [
    ("dpmpp_2m", half_a_step_too_far, 10),
    ("unipc", half_a_step_too_far, 10),
    ("ddim", noise_of_the_wrong_sign, 10),
    ("euler", noise_of_the_wrong_sign, 10),
    ("pndm", shares_exchanged, 10),
    ("lms", one_place_off, 10),
    ("dpmpp_2m_sde", too_little_noise, 10),
    ("lcm", boundary_left_out, 50),
]


@pytest.mark.parametrize(("name", "mutant", "steps"), MUTANTS)
def test_a_slip_is_caught(name: str, mutant: Any, steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    mutant(monkeypatch)
    with pytest.raises(AssertionError):
        test_parity(name, "epsilon", "leading", steps, monkeypatch)
