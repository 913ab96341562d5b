"""The figures that constructors ask for: numbers with their limits, and the size of a picture. They are keys of specs."""

from __future__ import annotations

from typing import Annotated, NamedTuple

from annotated_types import Ge, Gt, Interval

Positive = Annotated[int, Gt(0)]
NonNegative = Annotated[int, Ge(0)]
PositiveFloat = Annotated[float, Gt(0)]
Unit = Annotated[float, Interval(ge=0, le=1)]


class SampleShape(NamedTuple):
    """What the backbone draws: C, H and W of one picture or latent."""

    channels: int
    height: int
    width: int
