"""Kernels for the Hopper family compile by the Triton that is installed; on a GPU, tests/gpu holds them to float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("triton")

SHARED = 226 * 1024  # bytes that one program may have there, less what the compiler takes


@pytest.fixture(scope="module")
def made(printed: Callable[..., Any]) -> dict[str, dict[str, Any]]:
    return printed("compiled.py")


def test_all_multiply_on_the_tensor_cores_and_fit(made: dict[str, dict[str, Any]]) -> None:
    assert len(made) == 6
    assert all("wgmma.mma_async" in each["words"] for each in made.values())
    assert all(each["shared"] <= SHARED for each in made.values())


@pytest.mark.parametrize("kernel", ["gated product", "summed product", "self-attention"])
def test_what_is_in_gluon_deals_out_registers_and_fetches_by_tiles(made: dict[str, dict[str, Any]], kernel: str) -> None:
    assert {"setmaxnreg", "cp.async.bulk.tensor"} <= {*made[kernel]["words"]}
