"""kept: answers in a comparison's folder, each written whole or not at all, and known again by the question."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def answered(file: Path, metric: str) -> bool:
    """Is there an answer of this very metric?"""
    return file.is_file() and json.loads(file.read_text(encoding="utf-8"))["metric"] == metric


def write(path: Path, value: Mapping[str, Any]) -> None:
    """Whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")
    temporary.replace(path)
