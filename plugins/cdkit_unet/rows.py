"""repeated: a row for each picture -> a row for each of guidance's branches, where they begin to differ."""

from __future__ import annotations

import torch
from torch import Tensor


def repeated(h: Tensor, like: Tensor) -> Tensor:
    """h (B, ...) -> (n B, ...), n times one behind the other, where `like` has n B rows; h itself where n is 1."""
    times = len(like) // len(h)
    return h if times == 1 else torch.cat([h] * times)


def beside(skip: Tensor | None, h: Tensor) -> Tensor | None:
    """The skip, if there is one, with as many rows as h."""
    return None if skip is None else repeated(skip, h)
