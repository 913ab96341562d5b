"""Grids: which noise levels a sampling visits. Index 0 is noise, index S where it ends: on the clean picture, as a rule."""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
from torch import Tensor

from cdkit.diffusion.schedule import Schedule
from cdkit.parts import Grid

Ends: TypeAlias = Literal["clean", "first"]
Spacing: TypeAlias = Literal["trailing", "leading", "linspace", "karras"]

RHO = 7.0  # Karras et al. 2022 (EDM), eq. 5
WIDEST = 160.0  # their sigma_max of 80 in standard deviations of their data, 0.5; a schedule may end in infinity


def make_grid(schedule: Schedule, steps: int, spacing: Spacing = "trailing", ends: Ends = "clean") -> Grid:
    """S steps over a schedule; ValueError if there are none.

    trailing: T, T - T/S, ... (Lin et al. 2023: the only one of the first two that starts where the noise ends).
    leading: what CompVis and Stable Diffusion use: multiples of T // S, plus one.
    linspace: from the last step of training to the first, both ends included.
    karras: sigma / alpha to the power of 1/7 falls linearly; from 160 where the schedule goes beyond, after the start.
    ends: on the clean picture (alpha 1, sigma 0), or at the first level of training, as Stable Diffusion 1 and 2 were published;
    a last step that begins there already leads nowhere, and is left out.
    """
    if steps < 1:
        raise ValueError(f"a sampling of {steps} steps; expected at least 1")
    places = {"trailing": trailing, "leading": leading, "linspace": linspace}
    place = karras(schedule, steps) if spacing == "karras" else places[spacing](schedule.length, steps)
    place = place.clamp(max=schedule.length)  # rounding may lead beyond
    place = place if ends == "clean" else torch.cat([place[:1], place[1:][place[1:] > 1 + 1e-6]])
    alpha, sigma = schedule.pair(place)
    zero = torch.zeros_like(alpha[:1])
    end = (zero + 1, zero) if ends == "clean" else schedule.pair(zero + 1)
    return Grid(torch.cat([schedule.told(place), zero]), torch.cat([alpha, end[0]]), torch.cat([sigma, end[1]]))


def trailing(length: int, steps: int) -> Tensor:
    """Places (S,) from T down to T / S."""
    return torch.arange(steps, 0, -1, dtype=torch.float64, device="cpu") * length / steps


def leading(length: int, steps: int) -> Tensor:
    """Places (S,) from below T down to 2, or 1 where no step is left out."""
    stride = length // steps if steps <= length else length / steps
    return torch.arange(steps - 1, -1, -1, dtype=torch.float64, device="cpu") * stride + min(2, stride)


def linspace(length: int, steps: int) -> Tensor:
    """Places (S,) from T down to 1."""
    return torch.linspace(length, 1, steps, dtype=torch.float64, device="cpu")


def karras(schedule: Schedule, steps: int) -> Tensor:
    """Places (S,) from T down to 1, dense where little noise is left."""
    ends = torch.tensor([schedule.length, 1.0], dtype=torch.float64, device="cpu")
    alpha, sigma = schedule.pair(ends)
    start, end = (sigma / alpha).clamp(max=WIDEST).tolist()
    ramp = torch.linspace(start ** (1 / RHO), end ** (1 / RHO), steps, dtype=torch.float64, device="cpu") ** RHO
    place = schedule.reached(ramp.atan())
    place[0] = schedule.length  # where training's noise ends, be it beyond WIDEST
    return place
