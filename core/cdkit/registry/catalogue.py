"""catalogue: what to install for parts that are not here, as installed packages know it. No network is asked, nothing imported.

    [project.entry-points."cdkit.catalogue"]
    mine = "cdkit_mine"

A package that is named so holds `catalogue.json`: a part, and what pip is to be given: `{"encoder.mine": "cdkit-mine>=1"}`.
"""

from __future__ import annotations

import json
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any

GROUP = "cdkit.catalogue"
FILE = "catalogue.json"


def catalogue() -> dict[str, str]:
    """`kind.name` -> what to give pip; the first to say so counts. A catalogue that cannot be read says nothing."""
    found: dict[str, str] = {}
    for point in sorted(entry_points(group=GROUP), key=lambda point: point.value):
        for part, wanted in said(point.value).items():
            if isinstance(wanted, str) and wanted.isprintable():
                found.setdefault(part, wanted)
    return found


def said(package: str) -> dict[str, Any]:
    """The catalogue of a package at the top, found without importing it."""
    try:
        spec = find_spec(package) if package.isidentifier() else None
        folder = next(iter((spec and spec.submodule_search_locations) or ()), None)
        listed = json.loads((Path(folder) / FILE).read_text(encoding="utf-8")) if folder else {}
    except (OSError, ValueError, ImportError):
        return {}
    return listed if isinstance(listed, dict) else {}
