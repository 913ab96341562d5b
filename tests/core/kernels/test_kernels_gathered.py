"""Kernels that are gathered are compiled, each once and by another thread, and none is started; tests/gpu has it on a GPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("triton")

DRAWING = ["_forward", "_plus", "_plus", "_stem", "whole"]  # _plus of a map, and of `out`


def test_gathered_kernels_are_compiled_side_by_side_and_not_started(printed: Callable[..., Any]) -> None:
    found = printed("gathering.py")
    assert sorted(name for name, _ in found["gathered"]) == DRAWING, "each once, though each was asked for twice"
    assert not any(by_who_asked for _, by_who_asked in found["gathered"])
    assert found["untouched"], "none was started"
    assert found["again"] == [], "they are there the next time"
    assert found["beside"] == "it was started", "another thread's kernels are not gathered"
