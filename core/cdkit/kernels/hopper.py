"""Which GPUs the kernels in Gluon, Triton's lower level, are for."""

from __future__ import annotations

from functools import cache
from importlib.metadata import PackageNotFoundError, version

import torch

HOPPER = (9, 0)
GLUON = (3, 6)  # the first Triton whose Gluon has what they are written in


@cache
def gluon_knows(device: torch.device) -> bool:
    """Is it a GPU of the Hopper family, and the installed Triton new enough?"""
    return torch.cuda.get_device_capability(device) == HOPPER and _triton_version() >= GLUON


def _triton_version() -> tuple[int, int]:
    """The first two numbers; (0, 0) without Triton."""
    try:
        first, second = version("triton").split(".")[:2]
    except PackageNotFoundError:
        return 0, 0
    return int(first), int(second)
