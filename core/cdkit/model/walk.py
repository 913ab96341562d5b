"""Walk: all that leads from noise to clean pictures, but for the network."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from cdkit.model.begun import Begun
from cdkit.model.trajectory import Watch
from cdkit.parts import Approximation, Grid, Guider, Sampler, Stream


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to draw, with everything decided: the parts made, the grid laid out."""

    sampler: Sampler
    guider: Guider | None
    grid: Grid
    words: Mapping[str, Any]  # the same in words, for the pictures' metadata
    approximations: tuple[Approximation, ...] = ()

    @property
    def key(self) -> Hashable:
        """Equal for recipes that take the same steps."""
        levels = (tuple(row.tolist()) for row in (self.grid.t, self.grid.alpha, self.grid.sigma))
        return (repr(self.sampler), repr(self.guider), repr(self.approximations), *levels)


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
