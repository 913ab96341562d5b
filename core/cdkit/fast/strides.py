"""Gradients as the optimizer's kernels and messages between processes take them: in their weight's strides, and in a row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor


def in_strides_of(one: Tensor, found: Tensor) -> Tensor:
    """found, of one's shape and dtype: itself if its strides are one's, else a copy with those."""
    return found if found.stride() == one.stride() else torch.empty_like(one).copy_(found)


def joined_rows(gradients: Sequence[Tensor], parameters: Sequence[Tensor]) -> Tensor:
    """In a row, each in the order in which its parameter's numbers lie in memory. A single one that lies so is not copied."""
    rows = [
        in_strides_of(parameter, gradient).as_strided((gradient.numel(),), (1,))
        for gradient, parameter in zip(gradients, parameters, strict=True)
    ]
    return rows[0] if len(rows) == 1 else torch.cat(rows)


def rows_in(row: Tensor, parameters: Sequence[Tensor]) -> Iterator[Tensor]:
    """A row of several gradients as those: views, each in its parameter's strides."""
    for part, parameter in zip(row.split([one.numel() for one in parameters]), parameters, strict=True):
        yield part.as_strided(parameter.shape, parameter.stride())
