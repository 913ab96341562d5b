"""What the command line says to a model: prompts for its text column, `--give COLUMN=VALUE` for the others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cdkit.engine.photographs import opened
from cdkit.errors import UsageError
from cdkit.model import Model
from cdkit.model.draw import text_column

PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")


def said(model: Model, prompts: Sequence[str], given: Sequence[str], n: int) -> dict[str, list[Any]]:
    """Raw values by column, `n` pictures of each prompt. UsageError for what is no COLUMN=VALUE, or a column told twice."""
    told: dict[str, list[Any]] = {}
    for one in given:
        column, equals, value = one.partition("=")
        if not equals:
            raise UsageError(f"--give {one}: expected COLUMN=VALUE, as in --give hint=edges.png")
        told.setdefault(column, []).append(value_of(value))
    if prompts:
        told.setdefault(text_column(model), []).extend(prompts)
    most = max((len(values) for values in told.values()), default=0)
    return {column: [value for value in spread(column, values, most) for _ in range(n)] for column, values in told.items()}


def spread(column: str, values: list[Any], most: int) -> list[Any]:
    """One value for all pictures, or one each."""
    if len(values) not in {1, most}:
        raise UsageError(f"{len(values)} values of {column!r} for {most} pictures; give one, or one a picture")
    return values * most if len(values) == 1 else values


def value_of(text: str) -> Any:
    """A picture where a picture's file is named, else the text itself: numbers are read by whoever is told them."""
    return opened(Path(text)) if text.lower().endswith(PICTURES) else text
