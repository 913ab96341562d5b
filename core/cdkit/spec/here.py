"""`here:NAME`: a file or folder beside the spec that names it, wherever the spec is moved to."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cdkit.spec.place import Place

HERE = "here:"


def located(value: Any, place: Place) -> Any:
    """The path that `here:NAME` means at this place; anything else as it is."""
    if not (isinstance(value, str) and value.startswith(HERE)):
        return value
    return str(Path(place.file).parent / value.removeprefix(HERE))


def anchored(value: Any, folder: Path) -> Any:
    """Plain values of a spec with every `here:NAME` as a path in this folder."""
    if isinstance(value, Mapping):
        return {key: anchored(item, folder) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [anchored(item, folder) for item in value]
    if isinstance(value, str) and value.startswith(HERE):
        return str(folder / value.removeprefix(HERE))
    return value


def unanchored(value: Any, folder: Path) -> Any:
    """The inverse of `anchored`: paths in this folder as `here:NAME`."""
    if isinstance(value, Mapping):
        return {key: unanchored(item, folder) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [unanchored(item, folder) for item in value]
    if isinstance(value, str) and value.startswith(f"{folder}/"):
        return HERE + value.removeprefix(f"{folder}/")
    return value
