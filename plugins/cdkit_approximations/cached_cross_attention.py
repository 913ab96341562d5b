"""`cached_cross_attention`: after some of the steps the words have been heard (Zhang et al. 2024, T-GATE, arXiv 2404.02747).

What they add at each place is kept, branch by branch of guidance, and added from then on. The paper adds the mean of both
branches and ends guidance at the same step, which `guidance: {use: cfg, interval: ...}` does here.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from math import ceil

from cdkit.hooks import hookimpl
from cdkit.parts import Approximation, Detour, Filled, SampleShape, Unit
from torch import nn

from cdkit_approximations.reused import reused_change


@dataclass(frozen=True)
class CachedCrossAttention(Approximation):
    """The methods at `attend` sites (cross_attention, gated and their like) run in the first steps alone.

    until: the share of the steps in which they do, at least one; 1 changes nothing. Raises ValueError where nothing attends.
    """

    until: Unit = 0.4

    def detours(self, network: nn.Module, sample: SampleShape) -> Sequence[Detour]:
        del sample
        filled = [module for module in network.modules() if isinstance(module, Filled) and module.methods]
        places = [module for module in filled if module.site.kind == "attend"]
        if not places:
            others = ", ".join(sorted({module.site.kind for module in filled})) or "none"
            raise ValueError(f"no method fills an `attend` site of this network; kinds of site that are filled: {others}")
        return [Detour(module, reused_change) for module in places]

    def phase(self, index: int, steps: int) -> Hashable:
        return index < max(1, ceil(self.until * steps))


@hookimpl
def cdkit_approximation() -> type[CachedCrossAttention]:
    return CachedCrossAttention
