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
        "written": written(kind, name, part),
    }


HOMES = {
    "encoder": "conditions:\n  {name}: {part}",
    "injector": "injectors:\n  - {part}",
    "backbone": "backbone: {part}",
    "sampler": "sampler: {part}",
    "guider": "guidance: {part}",
    "approximation": "approximate:\n  - {part}",
    "autoencoder": "autoencoder: {part}",
    "dataset": "data: {part}",
    "metric": "evaluate:\n  - {part}",
    "callback": "callbacks:\n  - {part}",
}  # how a spec names a part of each kind
SAID = {"injector": {"streams": "[text]"}}  # keys of core's that have no default


def written(kind: str, name: str, part: Any) -> str:
    """The least that a spec says to use the part; where its own options have no default, what they expect stands in the place
    of a value. "" for kinds that no spec names.
    """
    if kind not in HOMES:
        return ""
    from cdkit.spec.options import REQUIRED
    from cdkit.spec.roles import core_keys, keys_of, role_of
    from cdkit.spec.words import expected

    said = {"use": name, **SAID.get(kind, {})}
    core = core_keys(role_of(kind, part))
    own = {key: option for key, option in keys_of(kind, part).options.items() if key not in core}
    said |= {key: f"<{expected(option.hint)}>" for key, option in own.items() if option.default is REQUIRED}
    if "of" in core:
        said["of"] = "[<two conditions>]"
    return HOMES[kind].format(name="text", part="{" + ", ".join(f"{key}: {value}" for key, value in said.items()) + "}")


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
    if found["written"]:
        yield "in a spec:"
        yield from (f"  {line}" for line in found["written"].splitlines())
