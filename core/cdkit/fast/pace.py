"""Fast: how a hastened model draws. A sampling that draws no noise on the way is one launch; others are one a step."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from cdkit.diffusion.denoiser import Moments
from cdkit.fast.attention import best_attention
from cdkit.fast.captured import Captured
from cdkit.fast.convolution import tried_convolutions
from cdkit.fast.products import tensor_float
from cdkit.fast.recent import Recent
from cdkit.fast.recorded import attempt, record
from cdkit.fast.rehearsal import rehearse
from cdkit.fast.shapes import row_of, shapes
from cdkit.fast.stepped import Stepped
from cdkit.kernels import fast
from cdkit.model.course import called
from cdkit.model.plain import Plain, walked
from cdkit.model.walk import Walk
from cdkit.parts import Backbone, Encoder, Stream, Timed

if TYPE_CHECKING:
    from cdkit.model.network import Network, Raw

KEPT = 4  # recordings that are held: each holds the memory of its activations


class Fast(Plain):
    """Belongs to one model, whose weights do not change any more. exact: encoders' products in float32, whole."""

    def __init__(self, *, graphs: bool, exact: bool) -> None:
        self.graphs, self.exact = graphs, exact
        self._stepped = Stepped(KEPT)
        self._loops: Recent[Captured | None] = Recent(KEPT)
        self._silent: dict[str, Stream | None] = {}

    def walk(self, network: Network, walk: Walk) -> Tensor:
        with self._on():
            loop = self._loop(network, walk) if self.graphs and walk.first is None and walk.watch is None else None
            if loop is not None:
                return loop(tensors_of(walk))
            return walked(network, walk, self._stepped if self.graphs else called)

    def encode(self, network: Network, raw: Raw) -> dict[str, Stream]:
        with self._reading(network):
            streams = network.encode(raw)
            for reader in network.readers.values() if self.graphs else ():
                for inner in reader.encoder.recordable() if isinstance(reader.encoder, Encoder) else ():
                    record(inner)
            return streams

    def silent(self, network: Network, name: str) -> Stream:
        """The null of one picture, which a frozen encoder reads once and for all."""
        if name not in self._silent:
            frozen = not any(parameter.requires_grad for parameter in network.encoders[name].parameters())
            self._silent[name] = self._null(network, name) if frozen else None
        return self._silent[name] or self._null(network, name)

    def _null(self, network: Network, name: str) -> Stream:
        with self._reading(network):
            return network.null(name, 1)

    def pixels(self, network: Network, clean: Tensor) -> Tensor:
        if network.autoencoder is None:
            return clean
        with self._on(), torch.autocast(clean.device.type, torch.bfloat16):
            return network.autoencoder.decode(clean)

    @contextmanager
    def _on(self) -> Generator[None]:
        with fast(), best_attention(), tried_convolutions():
            yield

    @contextmanager
    def _reading(self, network: Network) -> Generator[None]:
        with self._on(), nullcontext() if self.exact else tensor_float(network.device):
            yield

    def _loop(self, network: Network, walk: Walk) -> Captured | None:
        """The whole sampling, recorded; None where it cannot be, which is found out once."""
        said, silent = row_of(walk.told.said), row_of(walk.told.silent)
        key = (walk.recipe.key, walk.told.conditions, shapes(tensors_of(walk)), said.places, silent.places)
        return self._loops.get(key, lambda: self._recorded(network, walk))

    def _recorded(self, network: Network, walk: Walk) -> Captured | None:
        if rehearse(walk.recipe.sampler, walk.recipe.grid).noisy:
            return None
        said, silent = row_of(walk.told.said), row_of(walk.told.silent)
        times = walk.recipe.grid.t.to(walk.noise)

        def call(noise: Tensor, *rest: Tensor) -> Tensor:
            own = walk.told._replace(
                said=said.streams(rest[: len(said.tensors)]), silent=silent.streams(rest[len(said.tensors) :])
            )
            moments = moments_of(network.backbone, times)
            return walked(network, Walk(walk.recipe, own, noise, ()), moments=moments)

        return attempt(call, tensors_of(walk))


def moments_of(backbone: Backbone, times: Tensor) -> Moments | None:
    """What it makes of a sampling's times beforehand, if it does."""
    return partial(backbone.moments, times) if isinstance(backbone, Timed) else None


def tensors_of(walk: Walk) -> list[Tensor]:
    """All that differs between two walks of one recording."""
    return [walk.noise, *row_of(walk.told.said).tensors, *row_of(walk.told.silent).tensors]
