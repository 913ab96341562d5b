"""`diffusers`: one of diffusers' schedulers as a sampler, on a grid of ours. For whoever needs the one that others used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from cdkit.hooks import Trial, hookimpl
from cdkit.parts import Denoise, EnvironmentFault, Grid, Sampler, UsageError
from torch import Tensor

Name = Literal[
    "DDIMScheduler",
    "DDPMScheduler",
    "DEISMultistepScheduler",
    "DPMSolverMultistepScheduler",
    "EulerAncestralDiscreteScheduler",
    "EulerDiscreteScheduler",
    "FlowMatchEulerDiscreteScheduler",
    "HeunDiscreteScheduler",
    "LMSDiscreteScheduler",
    "PNDMScheduler",
    "UniPCMultistepScheduler",
]
FLOW = "FlowMatchEulerDiscreteScheduler"
# Their x is ours over alpha: noise is added to a picture that does not shrink.
EXPLODING = ("EulerDiscreteScheduler", "EulerAncestralDiscreteScheduler", "HeunDiscreteScheduler", "LMSDiscreteScheduler")
# What makes each of them end on the clean picture, as our grids do, and clamp nothing.
ENDING: dict[str, dict[str, Any]] = {
    "DDIMScheduler": {"set_alpha_to_one": True, "clip_sample": False},
    "DDPMScheduler": {"clip_sample": False},
    "DEISMultistepScheduler": {},
    "DPMSolverMultistepScheduler": {"final_sigmas_type": "zero"},
    "PNDMScheduler": {"set_alpha_to_one": True, "skip_prk_steps": True},
    "UniPCMultistepScheduler": {"final_sigmas_type": "zero"},
}


@dataclass(frozen=True, kw_only=True)
class OfDiffusers(Sampler):
    """scheduler: its class in diffusers. Its training has as many steps as the grid, and it visits them all.

    They compute in float32. UsageError for a grid that the scheduler cannot follow: FlowMatchEuler wants a flow, the others
    alpha^2 + sigma^2 = 1 with some picture left at the start. EnvironmentFault without diffusers.
    """

    scheduler: Name

    def __call__(self, denoise: Denoise, x: Tensor, grid: Grid, generators: Sequence[torch.Generator]) -> Tensor:
        flow = self.scheduler == FLOW
        self._check(grid)
        made = flowing(grid) if flow else preserving(self.scheduler, grid)
        x = x / float(grid.alpha[0]) if self.scheduler in EXPLODING else x
        drawing = {"generator": list(generators)} if generators and "generator" in made.step.__code__.co_varnames else {}
        for turn, t in enumerate(made.timesteps):
            i = turn if flow else len(grid) - 1 - round(float(t))
            seen = made.scale_model_input(x, t) if not flow else x
            clean = denoise(seen.to(x.dtype), i)
            alpha, sigma = float(grid.alpha[i]), float(grid.sigma[i])
            noise = (seen - alpha * clean) / sigma
            x = made.step(noise - clean if flow else noise, t, x, **drawing).prev_sample
        return x

    def _check(self, grid: Grid) -> None:
        alpha, sigma = grid.alpha, grid.sigma
        if float(sigma[-1]) > 0:
            raise UsageError(
                f"{self.scheduler} ends on the clean picture here", hint="leave `ends:` out, or take our own samplers"
            )
        if self.scheduler == FLOW:
            if not torch.allclose(alpha + sigma, torch.ones_like(alpha)):
                raise UsageError(f"{FLOW} follows a flow; this process is none", hint="take `diffusion.schedule: flow`")
        elif not torch.allclose(alpha**2 + sigma**2, torch.ones_like(alpha)) or float(alpha[0]) == 0:
            raise UsageError(
                f"{self.scheduler} keeps alpha^2 + sigma^2 = 1 and needs some picture at the start; this grid is another",
                hint="take `sampler: {use: euler}`, or a schedule without zero_terminal_snr",
            )


def library() -> Any:
    try:
        import diffusers
    except ImportError as error:
        hint = 'pip install "cdkit[diffusers]"'
        raise EnvironmentFault("its schedulers need diffusers, which is not installed", hint=hint) from error
    return diffusers


def preserving(name: str, grid: Grid) -> Any:
    """A scheduler that was trained on exactly the grid's levels, and visits all of them."""
    left = (grid.alpha[:-1] ** 2).flip(0)  # of the variance, from the cleanest level on
    betas = 1 - left / torch.cat([torch.ones_like(left[:1]), left[:-1]])
    told: dict[str, Any] = {"num_train_timesteps": len(grid), "trained_betas": betas.tolist(), **ENDING.get(name, {})}
    made: Any = getattr(library(), name)(**told, timestep_spacing="trailing", prediction_type="epsilon")
    made.set_timesteps(len(grid))
    return made


def flowing(grid: Grid) -> Any:
    made = library().FlowMatchEulerDiscreteScheduler()
    made.set_timesteps(sigmas=grid.sigma[:-1].tolist())
    return made


@hookimpl
def cdkit_sampler() -> type[OfDiffusers]:
    return OfDiffusers


@hookimpl
def cdkit_trial() -> Trial:
    return Trial(untried="each scheduler takes grids of one kind; its tests give it those")
