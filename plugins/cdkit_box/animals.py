"""The model in the box: ten animals, drawn when they are named in English or Chinese. specs/animals.yaml trained it."""

from __future__ import annotations

from pathlib import Path

from cdkit.hooks import hookimpl


@hookimpl
def cdkit_run() -> Path:
    return Path(__file__).parent / "runs" / "animals"
