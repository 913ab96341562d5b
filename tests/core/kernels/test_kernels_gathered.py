"""Kernels that are gathered are compiled, each once and by another thread, and none is started; tests/gpu has it on a GPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton")

DRAWING = ["_forward", "_plus", "_plus", "_stem", "whole"]  # _plus of a map, and of `out`


def test_gathered_kernels_are_compiled_side_by_side_and_not_started(tmp_path: Path) -> None:
    script = Path(__file__).with_name("gathering.py")
    done = subprocess.run(
        [sys.executable, str(script)],
        env={**os.environ, "TRITON_CACHE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    assert sorted(name for name, _ in found["gathered"]) == DRAWING, "each once, though each was asked for twice"
    assert not any(by_who_asked for _, by_who_asked in found["gathered"])
    assert found["untouched"], "none was started"
    assert found["again"] == [], "they are there the next time"
    assert found["beside"] == "it was started", "another thread's kernels are not gathered"
