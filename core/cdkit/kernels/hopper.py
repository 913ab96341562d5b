"""Which GPUs the kernels in Gluon, Triton's lower level, are for."""

from __future__ import annotations

from functools import cache
from importlib.metadata import PackageNotFoundError, version

import torch
from torch import Tensor

HOPPER = (9, 0)
FIRST, LAST = (3, 6), (3, 9)  # the Tritons that compile them; Gluon is not yet the same from one to the next


@cache
def gluon_knows(device: torch.device) -> bool:
    """Is it a GPU of the Hopper family, and the installed Triton one that compiles them?"""
    return torch.cuda.get_device_capability(device) == HOPPER and FIRST <= _triton_version() <= LAST


def _triton_version() -> tuple[int, int]:
    """The first two numbers; (0, 0) without Triton."""
    try:
        first, second = version("triton").split(".")[:2]
    except PackageNotFoundError:
        return 0, 0
    return int(first), int(second)


def lies_for_tiles(*matrices: Tensor) -> bool:
    """May tiles of them be fetched? Each begins at a multiple of 16 bytes, and so does every row."""
    return all(each.data_ptr() % 16 == 0 and each.stride(-2) * each.element_size() % 16 == 0 for each in matrices)
