"""made_with: which distributions a run was made with, and whether they are the ones that are here."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cdkit.errors import CheckpointError, PluginError
from cdkit.hooks import KINDS
from cdkit.registry import Registry
from cdkit.spec import Spec, SpecErrors

LARGEST = 1 << 20  # bytes of versions.json


def recorded(versions: Path) -> dict[str, str]:
    """`kind.name` -> `dist==version`, as a run's versions.json has it; nothing where it cannot be read."""
    try:
        with versions.open("rb") as file:
            found: Any = json.loads(file.read(LARGEST))
    except (OSError, ValueError, RecursionError):
        return {}
    parts = found.get("parts") if isinstance(found, dict) else None
    return {key: value for key, value in parts.items() if isinstance(value, str)} if isinstance(parts, dict) else {}


def not_installed(versions: Path, error: SpecErrors) -> CheckpointError | None:
    """What to install, where a run's spec cannot be read because parts that it was made with are not here; None otherwise."""
    if all(problem.code != "unknown-part" for problem in error.problems):
        return None
    registry = Registry.installed()
    gone = {part: made for part, made in recorded(versions).items() if not has(registry, part)}
    if not gone:
        return None
    wanted = sorted(set(gone.values()))
    return CheckpointError(
        f"{versions.parent}: was made with {', '.join(gone)} of {', '.join(wanted)}, not installed here",
        hint=f"pip install {' '.join(wanted)}",
    )


def has(registry: Registry, part: str) -> bool:
    kind, _, name = part.partition(".")
    return kind in KINDS and name in registry.names(kind)


def changed(versions: Path, spec: Spec) -> list[str]:
    """Distributions that were of another version when the run was made: a line each."""
    now = spec.provenance
    pairs = {(made, now[part]) for part, made in recorded(versions).items() if part in now and now[part] != made}
    return [f"{versions.parent}: was made with {made}; here is {here}" for made, here in sorted(pairs)]


def compare_versions(versions: Path, spec: Spec, say: Callable[[str], object], *, strict: bool) -> None:
    """Tell what `changed` finds. strict: PluginError for it."""
    lines = changed(versions, spec)
    if lines and strict:
        raise PluginError("; ".join(lines), hint="install what the run was made with, or leave --strict out")
    for line in lines:
        say(line)
