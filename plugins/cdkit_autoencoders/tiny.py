"""tiny: a small convolutional autoencoder that is trained here, so that latent diffusion works from scratch.

A variational autoencoder (Kingma and Welling 2014, arXiv 1312.6114) whose posterior is as wide everywhere: a picture's latents
have mean 0 and variance 1, whatever the weights, and the decoder learns to forgive noise of a fixed size beside them.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, ClassVar, Literal

import torch
from annotated_types import Interval
from cdkit.hooks import hookimpl
from cdkit.parts import Autoencoder, DataError, NonNegative, Positive
from torch import Tensor, nn
from torch.nn import functional as F


class Tiny(Autoencoder):
    """Pixels (B, 3, H, W) in [-1, 1] <-> latents (B, channels, H / factor, W / factor), each picture's of mean 0 and variance 1.

    factor: pixels a latent row. channels: of the latents. width: of the finest level's features; they double once a level, up
    to four times. depth: residual blocks a level. noise: standard deviation of what is added to latents in training.
    ValueError for a width that groups of eight channels do not divide.
    """

    trainable: ClassVar[bool] = True

    def __init__(
        self,
        *,
        factor: Literal[2, 4, 8, 16] = 4,
        channels: Positive = 4,
        width: Positive = 32,
        depth: NonNegative = 1,
        noise: Annotated[float, Interval(ge=0, le=1)] = 0.1,
    ) -> None:
        super().__init__()
        if width % GROUP:
            raise ValueError(f"width is {width}; expected a multiple of {GROUP}")
        self.factor, self.channels, self.noise = factor, channels, noise
        levels = factor.bit_length()
        widths = [width * min(2**level, 4) for level in range(levels)]
        self.encoder = nn.Sequential(
            nn.Conv2d(3, width, 3, padding=1),
            *[Level(fine, coarse, depth, "down") for fine, coarse in pairwise(widths)],
            *[Residual(widths[-1]) for _ in range(depth)],
            head(widths[-1], channels),
        )
        self.decoder = nn.Sequential(
            nn.Conv2d(channels, widths[-1], 3, padding=1),
            *[Residual(widths[-1]) for _ in range(depth)],
            *[Level(coarse, fine, depth, "up") for fine, coarse in reversed([*pairwise(widths)])],
            head(width, 3),
        )

    def encode(self, pixels: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """The mean, or with a generator a draw from the posterior. DataError for sides that factor does not divide."""
        if pixels.shape[-1] % self.factor or pixels.shape[-2] % self.factor:
            raise DataError(f"pictures of {pixels.shape[-2]} x {pixels.shape[-1]}: tiny needs multiples of {self.factor}")
        mean = F.group_norm(self.encoder(pixels).float(), 1)
        if generator is None:
            return mean
        return mean + self.noise * torch.randn(mean.shape, generator=generator, device=generator.device).to(mean)

    def decode(self, latents: Tensor) -> Tensor:
        return self.decoder(latents).clamp(-1, 1)

    def loss(self, pixels: Tensor, noise: Tensor) -> Tensor:
        """The mean absolute error of what comes back of noisy latents; past the ends of [-1, 1] too, so that it has a slope."""
        return (self.decoder(self.encode(pixels) + self.noise * noise) - pixels).abs().mean()


GROUP = 8  # channels that are normalised together


class Residual(nn.Module):
    """h (B, C, H, W) -> h + what two convolutions say of it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            nn.GroupNorm(channels // GROUP, channels),
            nn.SiLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.GroupNorm(channels // GROUP, channels),
            nn.SiLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
        )

    def forward(self, h: Tensor) -> Tensor:
        return h + self.branch(h)


class Level(nn.Sequential):
    """Half the rows and `out` channels, or twice the rows; residual blocks on the finer side."""

    def __init__(self, channels: int, out: int, depth: int, direction: Literal["down", "up"]) -> None:
        if direction == "down":
            blocks = [Residual(channels) for _ in range(depth)]
            super().__init__(*blocks, nn.Conv2d(channels, out, 3, stride=2, padding=1))
        else:
            blocks = [Residual(out) for _ in range(depth)]
            super().__init__(nn.Upsample(scale_factor=2), nn.Conv2d(channels, out, 3, padding=1), *blocks)


def head(channels: int, out: int) -> nn.Sequential:
    """The last word: normalised, bent, and one convolution."""
    return nn.Sequential(nn.GroupNorm(channels // GROUP, channels), nn.SiLU(), nn.Conv2d(channels, out, 3, padding=1))


@hookimpl
def cdkit_autoencoder() -> type[Tiny]:
    return Tiny
