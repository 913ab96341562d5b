"""The switch: whether kernels of our own may stand in for the plain mathematics. Off, unless somebody says so."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec

from torch import Tensor

_on = False


@contextmanager
def fast(on: bool = True) -> Generator[None]:
    """While it lasts, kernels may be taken (or, with False, may not)."""
    global _on
    before, _on = _on, on
    try:
        yield
    finally:
        _on = before


def is_fast() -> bool:
    return _on


def takes(h: Tensor) -> bool:
    """May a kernel be taken for h: is the switch on, and does h lie on a GPU that Triton knows?"""
    return _on and h.is_cuda and has_triton()


@cache
def has_triton() -> bool:
    """Triton comes with PyTorch for NVIDIA's GPUs, and not with the others."""
    return find_spec("triton") is not None
