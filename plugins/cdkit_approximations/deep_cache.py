"""`deep_cache`: what lies deep in a U-Net is asked at every n-th step alone (Ma et al. 2023, arXiv 2312.00858).

Between those steps the outermost blocks run as always, and what comes up to them from below is what came up last time.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from cdkit.hooks import hookimpl
from cdkit.parts import Approximation, Detour, Nested, NonNegative, Positive, SampleShape
from torch import nn

from cdkit_approximations.reused import reused


@dataclass(frozen=True)
class DeepCache(Approximation):
    """Every n-th step of the grid runs the whole network, from the first on; the others its outermost blocks.

    every: n; 1 changes nothing. depth: how many blocks run at all steps on the way down, and one more on the way up; 0 saves the
    most, and the number of blocks a level keeps the finest level whole. Raises ValueError for a network that is not nested, as
    U-Nets are, or not so deep.
    """

    every: Positive = 3
    depth: NonNegative = 0

    def detours(self, network: nn.Module, sample: SampleShape) -> Sequence[Detour]:
        del sample
        if not isinstance(network, Nested):
            raise ValueError(f"{type(network).__name__} is not nested, as a U-Net is: no part of it lies below the rest")
        if self.depth >= len(network.below):
            raise ValueError(f"depth is {self.depth}, and at {len(network.below)} there is nothing below; expected less")
        return [Detour(network.below[self.depth], reused)]

    def phase(self, index: int, steps: int) -> Hashable:
        del steps
        return index % self.every == 0


@hookimpl
def cdkit_approximation() -> type[DeepCache]:
    return DeepCache
