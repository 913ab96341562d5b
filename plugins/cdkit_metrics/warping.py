"""Small rotations, shifts, zooms and shears: what a thing survives without becoming another."""

from __future__ import annotations

from math import pi
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F


class Limits(NamedTuple):
    """How far at most, either way."""

    degrees: float = 12.0
    shift: float = 0.07  # of the picture's side
    zoom: float = 0.10
    shear: float = 0.10


def warped(images: Tensor, *, limits: Limits, generator: torch.Generator) -> Tensor:
    """images (B, C, H, W) -> each warped in its own way; what comes in from outside repeats the border."""
    theta = _affine(len(images), limits, generator).to(images.device)
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)


def _affine(n: int, limits: Limits, generator: torch.Generator) -> Tensor:
    """n matrices (n, 2, 3), drawn on the CPU so that every device warps alike."""
    draws = 2 * torch.rand(n, 6, generator=generator) - 1
    angle = draws[:, 0] * limits.degrees * pi / 180
    zoom = 1 + draws[:, 1] * limits.zoom
    shear = draws[:, 2] * limits.shear
    cos, sin = angle.cos() * zoom, angle.sin() * zoom
    shift = 2 * limits.shift * draws[:, 3:5]
    rows = [torch.stack([cos, shear - sin, shift[:, 0]], 1), torch.stack([sin, cos, shift[:, 1]], 1)]
    return torch.stack(rows, 1)
