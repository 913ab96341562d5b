"""Sharded tensors: those of which each process holds a part (torch's DTensor)."""

from __future__ import annotations

from typing import cast

from torch import Tensor


def is_sharded(tensor: Tensor) -> bool:
    """Is it divided among processes?"""
    return hasattr(tensor, "to_local")


def part_of(tensor: Tensor) -> Tensor:
    """What this process holds of it: all of a tensor that is not divided. The same memory."""
    return cast("Tensor", tensor.to_local()) if is_sharded(tensor) else tensor  # pyright: ignore[reportAttributeAccessIssue]
