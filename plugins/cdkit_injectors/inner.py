"""inner: the width inside a method, which its weights grow with and the network's do not. `cdkit compare` solves for it.

Sites are few and widths are whole, so that weights grow by leaps. A number with a fraction halves them: 12.25 is 13 at a quarter
of the sites, by their names, and 12 at the others.
"""

from __future__ import annotations

from math import floor
from typing import Annotated, TypeAlias
from zlib import crc32

from annotated_types import Ge
from torch import nn

from cdkit_injectors.modulation import silent_linear

Inner: TypeAlias = Annotated[float, Ge(1)]


def whole(inner: float, name: str, step: int = 1) -> int:
    """The width at a site (or a layer) of this name: a multiple of `step`, at least one; `inner` itself where it is such."""
    return step * max(1, floor(inner / step + crc32(name.encode()) / 2**32))


def inside(inner: float | None, name: str) -> int | None:
    """The width at a site of this name, where one is given."""
    return None if inner is None else whole(inner, name)


def silent(inputs: int, outputs: int, inner: int | None) -> nn.Linear | nn.Sequential:
    """What says nothing at birth: one Linear, or Linear, SiLU and Linear with `inner` channels between them."""
    if inner is None:
        return silent_linear(inputs, outputs)
    return nn.Sequential(nn.Linear(inputs, inner), nn.SiLU(), silent_linear(inner, outputs))
