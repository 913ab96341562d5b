"""Moment: the time of a step, as every block of a U-Net is told it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Moment(NamedTuple):
    """emb (B, E), and what each residual block makes of it, if that is known already: (B, C) by the block's place.

    branches: x holds every picture so many times, one behind the other, for what each branch of guidance is told.
    """

    emb: Tensor
    offsets: Sequence[Tensor] = ()
    branches: int = 1

    def of(self, n: int) -> Moment:
        """The same for n pictures, of a moment that holds one row for all."""
        return Moment(self.emb.expand(n, -1), [offset.expand(n, -1) for offset in self.offsets])

    def offset(self, place: int, project: nn.Linear) -> Tensor:
        """What the block at this place, with this projection, adds to each channel, (B, C)."""
        return self.offsets[place] if self.offsets else project(F.silu(self.emb))


class Projections:
    """Every residual block's projection of the time embedding as one product."""

    def __init__(self, layers: Sequence[nn.Linear]) -> None:
        """Each layer's weight and bias become parts of the one matrix and the one vector."""
        self.widths = [layer.out_features for layer in layers]
        self.weight, self.bias = (torch.cat([getattr(layer, name).detach() for layer in layers]) for name in ("weight", "bias"))
        for layer, weight, bias in zip(layers, self.weight.split(self.widths), self.bias.split(self.widths), strict=True):
            layer.weight.data, layer.bias.data = weight, bias

    def __call__(self, emb: Tensor) -> Sequence[Tensor]:
        """emb (B, E) -> (B, C) for each layer, in order."""
        return F.linear(F.silu(emb), self.weight, self.bias).split(self.widths, dim=1)
