"""Fast: how a hastened model draws. A sampling that draws no noise on the way is one launch; others are one a step."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from cdkit.fast.attention import best_attention
from cdkit.fast.captured import Captured
from cdkit.fast.recent import Recent
from cdkit.fast.recorded import attempt, record
from cdkit.fast.rehearsal import rehearse
from cdkit.fast.shapes import row_of, shapes
from cdkit.fast.stepped import Stepped
from cdkit.kernels import fast
from cdkit.model.walk import Plain, Recipe, Told, walk
from cdkit.parts import Encoder, Stream

if TYPE_CHECKING:
    from cdkit.model import Model
    from cdkit.model.model import Raw
    from cdkit.model.start import Begun

KEPT = 4  # recordings that are held: each holds the memory of its activations


class Fast(Plain):
    """Belongs to one model, whose weights do not change any more, but for their values."""

    def __init__(self, model: Model, *, graphs: bool) -> None:
        self.graphs = graphs
        self._stepped = Stepped(model.backbone, KEPT)
        self._loops: Recent[Captured | None] = Recent(KEPT)
        self._silent: dict[str, Stream] = {}

    def walk(
        self,
        model: Model,
        recipe: Recipe,
        told: Told,
        noise: Tensor,
        generators: Sequence[torch.Generator],
        first: Begun | None,
    ) -> Tensor:
        with self._on():
            loop = self._loop(model, recipe, told, noise) if self.graphs and first is None else None
            if loop is not None:
                return loop([noise, *row_of(told.said).tensors, *row_of(told.silent).tensors])
            predict = self._stepped if self.graphs else model.backbone
            return walk(model, recipe, told, noise, generators, first, predict)

    def encode(self, model: Model, raw: Raw) -> dict[str, Stream]:
        with self._on():
            streams = model.encode(raw)
            for reader in model.readers.values() if self.graphs else ():
                for network in reader.encoder.recordable() if isinstance(reader.encoder, Encoder) else ():
                    record(network)
            return streams

    def silent(self, model: Model, name: str) -> Stream:
        """The null of one picture, which a frozen encoder reads once and for all."""
        if any(parameter.requires_grad for parameter in model.encoders[name].parameters()):
            return model.null(name, 1)
        if name not in self._silent:
            self._silent[name] = model.null(name, 1)
        return self._silent[name]

    def pixels(self, model: Model, clean: Tensor) -> Tensor:
        if model.autoencoder is None:
            return clean
        with self._on(), torch.autocast(clean.device.type, torch.bfloat16):
            return model.autoencoder.decode(clean)

    @contextmanager
    def _on(self) -> Generator[None]:
        with fast(), best_attention():
            yield

    def _loop(self, model: Model, recipe: Recipe, told: Told, noise: Tensor) -> Captured | None:
        """The whole sampling, recorded; None where it cannot be, which is found out once."""
        said, silent = row_of(told.said), row_of(told.silent)
        tensors = [noise, *said.tensors, *silent.tensors]
        key = (recipe.key, told.conditions, shapes(tensors), said.places, silent.places)
        return self._loops.get(key, lambda: self._recorded(model, recipe, told, tensors))

    def _recorded(self, model: Model, recipe: Recipe, told: Told, tensors: Sequence[Tensor]) -> Captured | None:
        seen = rehearse(recipe.sampler, recipe.grid)
        if seen.noisy:
            return None
        said, silent = row_of(told.said), row_of(told.silent)

        def call(noise: Tensor, *rest: Tensor) -> Tensor:
            own = told._replace(said=said.streams(rest[: len(said.tensors)]), silent=silent.streams(rest[len(said.tensors) :]))
            return walk(model, recipe, own, noise, (), None, model.backbone)

        return attempt(call, list(tensors))
