"""Scripts that compile run in a process of their own, for a compiler writes files and starts others."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def printed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Any]:
    """What a script of this folder prints as JSON, where nothing is compiled yet."""

    def run(script: str) -> Any:
        done = subprocess.run(
            [sys.executable, str(Path(__file__).with_name(script))],
            env={**os.environ, "TRITON_CACHE_DIR": str(tmp_path_factory.mktemp("triton"))},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return json.loads(done.stdout)

    return run
