"""The folder for what can be fetched or made again: data sets, evaluators."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def cache_folder() -> Path:
    """$CDKIT_CACHE, else cdkit/ in $XDG_CACHE_HOME or ~/.cache, else (no home at all) in the folder for temporary files."""
    named = os.environ.get("CDKIT_CACHE")
    if named:
        return Path(named)
    base = os.environ.get("XDG_CACHE_HOME")
    if base and Path(base).is_absolute():
        return Path(base) / "cdkit"
    home = Path(os.path.expanduser("~"))
    return home / ".cache" / "cdkit" if home.is_absolute() else Path(tempfile.gettempdir()) / "cdkit"
