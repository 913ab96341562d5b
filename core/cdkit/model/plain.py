"""Plain: how a network draws and learns where nobody hastens it: step by step, in the weights' own dtype."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from cdkit.diffusion.denoiser import Denoiser, Moments
from cdkit.model.begun import unit_noise
from cdkit.model.course import Call, Course, called
from cdkit.model.trajectory import watched
from cdkit.model.walk import Walk
from cdkit.parts import Signals, Stream

if TYPE_CHECKING:
    from cdkit.model.network import Network, Raw


class Plain:
    """Step by step, in the weights' own dtype."""

    def walk(self, network: Network, walk: Walk) -> Tensor:
        return walked(network, walk)

    def predict(self, network: Network, x: Tensor, t: Tensor, signals: Signals) -> Tensor:
        return network.backbone(x, t, signals)

    def encode(self, network: Network, raw: Raw) -> dict[str, Stream]:
        return network.encode(raw)

    def silent(self, network: Network, name: str) -> Stream:
        return network.null(name, 1)

    def pixels(self, network: Network, clean: Tensor) -> Tensor:
        return clean if network.autoencoder is None else network.autoencoder.decode(clean)


def walked(network: Network, walk: Walk, call: Call = called, moments: Moments | None = None) -> Tensor:
    """Every step of the recipe's sampler; signals are prepared once for each of guidance's branches. call: of the backbone.
    moments: see `Denoiser`."""
    told, grid, first = walk.told, walk.recipe.grid, walk.first
    denoiser = Denoiser(
        predict=Course(network.backbone, walk.recipe.approximations, network.shape, len(grid), call),
        signals=network.signals(told.said, told.silent),
        diffusion=network.diffusion,
        grid=grid,
        guider=walk.recipe.guider,
        conditions=told.conditions,
        moments=moments,
    )
    denoise = denoiser if first is None else first.kept(denoiser)
    x = unit_noise(walk.noise, grid) if first is None else first.noised(walk.noise, grid)
    shown = denoise if walk.watch is None else watched(denoise, walk.watch, network.autoencoder, grid)
    return walk.recipe.sampler(shown, x, grid, walk.generators)
