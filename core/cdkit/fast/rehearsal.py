"""rehearsal: what a sampler does, tried on nothing: does it draw noise on the way, and which steps does it ask for?"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from cdkit.parts import Grid, Sampler


class Rehearsal(NamedTuple):
    """noisy: it asked a generator. steps: the indices that it asked the denoiser about, in order."""

    noisy: bool
    steps: tuple[int, ...]


def rehearse(sampler: Sampler, grid: Grid) -> Rehearsal:
    """Samplers are pure, so what one does here it does on every picture."""
    asked: list[int] = []

    def denoise(x: Tensor, i: int) -> Tensor:
        asked.append(i)
        return x * 0.5

    generator = torch.Generator().manual_seed(0)
    before = generator.get_state()
    sampler(denoise, torch.ones(1, 1, 4, 4, device="cpu"), grid, [generator])
    return Rehearsal(not torch.equal(before, generator.get_state()), tuple(asked))
