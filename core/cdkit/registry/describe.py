"""describe: one part for a person: its signature, its defaults, who provides it, and where its code is."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

from cdkit.registry.registry import Registry


def describe(registry: Registry, kind: str, name: str) -> dict[str, Any]:
    """Plain values about a part, which is imported for it. PluginError if it cannot be."""
    part = registry.get(kind, name)
    record = registry.record(kind, name)
    return {
        "kind": kind,
        "name": name,
        "provider": registry.provider(kind, name),
        "module": record.entry.value if record else getattr(part, "__module__", ""),
        "where": where(part),
        "milliseconds": record.milliseconds if record else None,
        "doc": (inspect.getdoc(part) or "") if callable(part) else "",
        "options": options(part) if callable(part) else {},
    }


def options(part: Any) -> dict[str, dict[str, Any]]:
    """The parameters of the constructor, as they are written: hint, and default where there is one."""
    found: dict[str, dict[str, Any]] = {}
    for parameter in inspect.signature(part).parameters.values():
        hint = parameter.annotation
        row: dict[str, Any] = {"type": hint if isinstance(hint, str) else inspect.formatannotation(hint)}
        if parameter.default is not parameter.empty:
            row["default"] = parameter.default
        found[parameter.name] = row
    return found


def where(part: Any) -> str:
    """file:line of a part's definition; a run's folder is its own."""
    if not callable(part):
        return str(part)
    try:
        return f"{inspect.getsourcefile(part)}:{inspect.getsourcelines(part)[1]}"
    except (OSError, TypeError):
        return ""


def lines(found: dict[str, Any]) -> Iterator[str]:
    """The description for a person."""
    yield f"{found['kind']}.{found['name']}  {found['provider']}"
    yield f"  {found['where']}"
    yield from (f"  {line}".rstrip() for line in found["doc"].splitlines())
    for name, row in found["options"].items():
        default = f" = {row['default']!r}" if "default" in row else ""
        yield f"  {name}: {row['type']}{default}"
