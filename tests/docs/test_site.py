"""The site builds, and a link that leads nowhere would be an error."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_site_builds_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("sphinx", reason="sphinx is not installed: make install")
    command = [sys.executable, str(ROOT / "docs" / "site" / "build.py"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for page in ("README", "docs/api", "docs/course/index", "docs/course/zh/index", "docs/methods/film"):
        assert (tmp_path / f"{page}.html").is_file()
    assert "cross_attention" in (tmp_path / "docs" / "parts.html").read_text(encoding="utf-8")
