"""Start: a picture to set out from, instead of from noise alone; and a mask, where only a part of it is to be drawn anew."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from cdkit.errors import UsageError
from cdkit.model.begun import Begun
from cdkit.parts import Grid

if TYPE_CHECKING:
    from cdkit.model.network import Network

MASKED = "masked"  # the column of a model that is told what is to be drawn anew, as Stable Diffusion's inpainting models are


@dataclass(frozen=True, slots=True)
class Start:
    """image: (C, H, W) in [-1, 1]. strength in (0, 1]: the share of the steps taken. mask: (1, H, W), 1 where to draw."""

    image: Tensor
    strength: float = 1.0
    mask: Tensor | None = None

    def __post_init__(self) -> None:
        if not 0 < self.strength <= 1:
            raise UsageError(f"strength {self.strength:g}; expected a number above 0 and at most 1: the share of steps taken")
        if self.mask is not None and self.mask.shape[1:] != self.image.shape[1:]:
            told = " x ".join(map(str, self.mask.shape[1:]))
            raise UsageError(f"the mask is {told} and the picture {_size(self.image)}; expected one size (rows x columns)")

    def shortened(self, grid: Grid) -> Grid:
        """The last steps of a grid. UsageError where strength leaves none (Meng et al. 2022, SDEdit, arXiv 2108.01073)."""
        taken = min(int(len(grid) * self.strength + 1e-9), len(grid))
        if not taken:
            raise UsageError(
                f"strength {self.strength:g} of {len(grid)} steps is no step", hint="ask for more steps, or for more strength"
            )
        first = len(grid) - taken
        return Grid(grid.t[first:], grid.alpha[first:], grid.sigma[first:])


def begun(network: Network, start: Start) -> Begun:
    """Encoded, on the model's device. UsageError for a picture of another size than the model draws."""
    check_size(network, start.image)
    clean = encoded(network, start.image)
    told = MASKED in network.columns
    mask = None if start.mask is None or told else at_latents(start.mask, clean).to(clean)
    return Begun(clean, mask, from_noise=told and start.mask is not None and start.strength == 1)


def encoded(network: Network, image: Tensor) -> Tensor:
    """A picture (C, H, W) in [-1, 1] as what the network draws, (1, C, H, W)."""
    pixels = image.unsqueeze(0).to(network.device)
    return pixels if network.autoencoder is None else network.autoencoder.encode(pixels)


def masked_of(network: Network, start: Start) -> Tensor:
    """What an inpainting model is told, (1 + C, H, W): the mask, then the picture with nothing under it."""
    assert start.mask is not None
    hole = encoded(network, start.image * (start.mask < 0.5))
    return torch.cat([at_latents(start.mask, hole), hole], dim=1)[0]


def at_latents(mask: Tensor, latents: Tensor) -> Tensor:
    """A mask (1, H, W) at the latents' size, (1, 1, H', W') of 0 and 1 on their device."""
    small = F.interpolate((mask >= 0.5).float().unsqueeze(0), latents.shape[-2:], mode="nearest")
    return small.to(latents.device)


def pasted(pixels: Tensor, start: Start) -> Tensor:
    """Pictures (B, C, H, W) with the given one wherever nothing was to be drawn."""
    if start.mask is None:
        return pixels
    mask = (start.mask >= 0.5).to(pixels)
    return mask * pixels + (1 - mask) * start.image.to(pixels)


def check_size(network: Network, image: Tensor) -> None:
    factor = network.autoencoder.factor if network.autoencoder is not None else 1
    channels = 3 if network.autoencoder is not None else network.shape.channels
    expected = (channels, network.shape.height * factor, network.shape.width * factor)
    if tuple(image.shape) != expected:
        raise UsageError(
            f"the picture is {_size(image)} with {image.shape[0]} channels; this model draws {expected[1]} x {expected[2]} "
            f"with {channels} (rows x columns)",
            hint="load the model at the picture's size (--height, --width), or resize the picture",
        )


def _size(image: Tensor) -> str:
    return f"{image.shape[1]} x {image.shape[2]}"
