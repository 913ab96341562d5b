"""Scripts run in a process of their own: a compiler writes files and starts others, and Triton reads its environment once."""

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
def printed(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """printed(script, NAME=value, …): what a script of this folder prints as JSON, in that environment, nothing compiled yet."""

    def run(script: str, **environment: str) -> Any:
        done = subprocess.run(
            [sys.executable, str(Path(__file__).with_name(script))],
            env={**os.environ, "TRITON_CACHE_DIR": str(tmp_path_factory.mktemp("triton")), **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return json.loads(done.stdout)

    return run
