"""`pndm`: linear multistep on the noise, Stable Diffusion's PLMS (Liu et al. 2022, PNDM, arXiv 2202.09778). S + 1 calls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from cdkit.hooks import hookimpl
from cdkit.parts import Denoise, Grid, Sampler
from torch import Tensor

from cdkit_samplers.step import Step, steps_of

# Adams and Bashforth's shares of the last noises, newest first, for steps of one length.
SHARES = {1: (1.0,), 2: (3 / 2, -1 / 2), 3: (23 / 12, -16 / 12, 5 / 12), 4: (55 / 24, -59 / 24, 37 / 24, -9 / 24)}


@dataclass(frozen=True)
class Pndm(Sampler):
    """No options. The first step is taken twice, the second time with the mean of the noises at both of its ends.

    It takes the steps for equally long, as Stable Diffusion's `leading` grid has them. What was seen at alpha 0 says nothing
    about the noise later on and is not looked back at.
    """

    def __call__(self, denoise: Denoise, x: Tensor, grid: Grid, generators: Sequence[torch.Generator]) -> Tensor:
        del generators
        past: list[Tensor] = []  # newest first
        for i, step in enumerate(steps_of(grid)):
            clean = denoise(x, i)
            noise = step.noise(x, clean)
            if step.alpha == 0:
                x = step.to(clean, noise)
                continue
            past = [noise, *past[:3]]
            if len(past) == 1 and not step.last:
                ahead = denoise(along(step, x, noise), i + 1)
                noise = (noise + at_end(step, along(step, x, noise), ahead)) / 2
                x = along(step, x, noise)
            else:
                x = along(step, x, combined(past))
        return x


def along(step: Step, x: Tensor, noise: Tensor) -> Tensor:
    """x at the next level if this is the noise in it all the way (their eq. 9)."""
    return step.to((x - step.sigma * noise) / step.alpha, noise)


def at_end(step: Step, x: Tensor, clean: Tensor) -> Tensor:
    """The noise in x at the step's end."""
    return (x - step.alpha_next * clean) / step.sigma_next


def combined(past: Sequence[Tensor]) -> Tensor:
    """The noise to go on with (their eq. 12)."""
    return torch.stack([share * noise for share, noise in zip(SHARES[len(past)], past, strict=True)]).sum(0)


@hookimpl
def cdkit_sampler() -> type[Pndm]:
    return Pndm
