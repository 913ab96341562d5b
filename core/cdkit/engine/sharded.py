"""Sharded tensors: those of which each process holds a part, some of the rows (torch's DTensor, as fully_shard makes it)."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor


def is_sharded(tensor: Tensor) -> bool:
    """Is it divided among processes?"""
    return hasattr(tensor, "to_local")


def part_of(tensor: Tensor) -> Tensor:
    """What this process holds of it: all of a tensor that is not divided. The same memory."""
    return cast("Tensor", tensor.to_local()) if is_sharded(tensor) else tensor  # pyright: ignore[reportAttributeAccessIssue]


def whole_of(tensor: Tensor) -> Tensor:
    """All of it, gathered from all processes, each of which calls this."""
    return cast("Tensor", tensor.full_tensor()) if is_sharded(tensor) else tensor  # pyright: ignore[reportAttributeAccessIssue]


def divided(part: Tensor, like: Tensor) -> Tensor:
    """A part that this process holds, as a tensor that is divided as `like` is; itself where that is whole."""
    if not is_sharded(like):
        return part
    from torch.distributed.tensor import DTensor

    how: Any = like
    return DTensor.from_local(part, how.device_mesh, how.placements, run_check=False, shape=like.shape, stride=like.stride())


def rows_for(whole: Tensor, like: Tensor) -> Tensor:
    """Of a whole tensor what this process holds, if it is divided as `like` is."""
    if not is_sharded(like):
        return whole
    mesh: Any = like.device_mesh  # pyright: ignore[reportAttributeAccessIssue]
    parts = whole.chunk(mesh.size(), dim=0)
    mine = mesh.get_local_rank()
    return parts[mine] if mine < len(parts) else whole[:0]


@torch.no_grad()
def fill(target: Tensor, whole: Tensor) -> None:
    """Copy a whole tensor, of which each process has a copy, into one that may be divided."""
    part_of(target).copy_(rows_for(whole, target))
