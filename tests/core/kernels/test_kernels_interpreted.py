"""Kernels of our own against float64, forward and back, by Triton's interpreter; on a GPU, tests/gpu does it at full size."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton")


@pytest.fixture(scope="module")
def errors() -> dict[str, float]:
    """The worst relative error of each case, of the answer and of every gradient."""
    script = Path(__file__).with_name("interpreted.py")
    done = subprocess.run(
        [sys.executable, str(script)], env={**os.environ, "TRITON_INTERPRET": "1"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


def test_every_kernel_is_its_mathematics(errors: dict[str, float]) -> None:
    assert len(errors) == 42
    assert {name: error for name, error in errors.items() if not error < 3e-6} == {}
