"""Kernels of our own against float64, forward and back, by Triton's interpreter; on a GPU, tests/gpu does it at full size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("triton")


@pytest.fixture(scope="module")
def errors(printed: Callable[..., Any]) -> dict[str, float]:
    """The worst relative error of each case, of the answer and of every gradient."""
    return printed("interpreted.py", TRITON_INTERPRET="1")


def test_every_kernel_is_its_mathematics(errors: dict[str, float]) -> None:
    assert len(errors) == 42
    assert {name: error for name, error in errors.items() if not error < 3e-6} == {}
