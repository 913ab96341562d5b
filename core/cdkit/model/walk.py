"""walk: from noise to the clean picture, told what is told: the part of a drawing that is a function of tensors alone."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import torch
from torch import Tensor

from cdkit.diffusion.denoiser import Denoiser, Predict
from cdkit.model.start import unit_noise
from cdkit.model.trajectory import Watch, watched
from cdkit.parts import Grid, Guider, Sampler, Signals, Stream

if TYPE_CHECKING:
    from cdkit.model.model import Model, Raw
    from cdkit.model.start import Begun


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to draw, with everything decided: the parts made, the grid laid out."""

    sampler: Sampler
    guider: Guider | None
    grid: Grid
    words: Mapping[str, Any]  # the same in words, for the pictures' metadata

    @property
    def key(self) -> Hashable:
        """Equal for recipes that take the same steps."""
        levels = (tuple(row.tolist()) for row in (self.grid.t, self.grid.alpha, self.grid.sigma))
        return (repr(self.sampler), repr(self.guider), *levels)


class Told(NamedTuple):
    """What pictures are told: every condition's stream, what it is when silent, and which of them guidance may silence."""

    said: Mapping[str, Stream]
    silent: Mapping[str, Stream]
    conditions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Walk:
    """A batch of pictures to draw: how, of what they are told, from which noise (B, C, H, W) and one generator each.

    first: the picture that they set out from, if any. watch: who is shown every step, if anybody.
    """

    recipe: Recipe
    told: Told
    noise: Tensor
    generators: Sequence[torch.Generator]
    first: Begun | None = None
    watch: Watch | None = None


class Pace(Protocol):
    """How a model draws: plainly, or hastened (`cdkit.fast`)."""

    def walk(self, model: Model, walk: Walk) -> Tensor:
        """Clean pictures or latents (B, C, H, W)."""
        ...

    def predict(self, model: Model, x: Tensor, t: Tensor, signals: Signals) -> Tensor:
        """What the backbone predicts, in training."""
        ...

    def encode(self, model: Model, raw: Raw) -> dict[str, Stream]:
        """The streams of the conditions whose column is given."""
        ...

    def silent(self, model: Model, name: str) -> Stream:
        """The null of one condition, of batch 1."""
        ...

    def pixels(self, model: Model, clean: Tensor) -> Tensor:
        """What the backbone drew -> pixels."""
        ...


class Plain:
    """Step by step, in the weights' own dtype."""

    def walk(self, model: Model, walk: Walk) -> Tensor:
        return walked(model, walk, model.backbone)

    def predict(self, model: Model, x: Tensor, t: Tensor, signals: Signals) -> Tensor:
        return model.backbone(x, t, signals)

    def encode(self, model: Model, raw: Raw) -> dict[str, Stream]:
        return model.encode(raw)

    def silent(self, model: Model, name: str) -> Stream:
        return model.null(name, 1)

    def pixels(self, model: Model, clean: Tensor) -> Tensor:
        return clean if model.autoencoder is None else model.autoencoder.decode(clean)


def walked(model: Model, walk: Walk, predict: Predict) -> Tensor:
    """Every step of the recipe's sampler; signals are prepared once for each of guidance's branches."""
    told, grid, first = walk.told, walk.recipe.grid, walk.first
    denoiser = Denoiser(
        predict=predict,
        signals=model.signals(told.said, told.silent),
        diffusion=model.diffusion,
        grid=grid,
        guider=walk.recipe.guider,
        conditions=told.conditions,
    )
    denoise = denoiser if first is None else first.kept(denoiser)
    x = unit_noise(walk.noise, grid) if first is None else first.noised(walk.noise, grid)
    shown = denoise if walk.watch is None else watched(denoise, walk.watch, model, grid)
    return walk.recipe.sampler(shown, x, grid, walk.generators)
