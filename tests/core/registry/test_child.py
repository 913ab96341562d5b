"""What a probe's child counts. What becomes of it: test_probe.py, with stand-ins, and test_hostile_plugins.py, with real ones."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from cdkit.registry.child import said


def test_bytes_are_counted_though_their_line_has_not_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = os.dup(2)
    with (tmp_path / "stderr").open("w", encoding="utf-8") as file:
        monkeypatch.setattr(sys, "stderr", file)
        os.dup2(file.fileno(), 2)
        try:
            before = said()
            file.write("héllo")
            after = said()
        finally:
            os.dup2(kept, 2)
            os.close(kept)
    assert (before, after) == (0, 6)
