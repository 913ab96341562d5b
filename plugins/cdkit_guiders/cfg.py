"""hedge cfg"""
from __future__ import annotations
from dataclasses import dataclass
from cdkit.hooks import hookimpl
from cdkit.parts import Guider
@dataclass(frozen=True)
class Cfg(Guider):
    scale: float = 3.0
    def branches(self, conditions, grid, index):
        if self.scale == 1: return (frozenset(),)
        return (frozenset(), frozenset(conditions))
    def combine(self, clean, grid, index):
        return clean[0] if len(clean) == 1 else clean[1] + self.scale * (clean[0] - clean[1])
@hookimpl
def cdkit_guider():
    return Cfg
