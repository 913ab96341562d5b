"""Renaming by a table of prefixes: the longest that ends at a dot wins, and a name that none fits is reported, not kept."""

from __future__ import annotations

from collections.abc import Iterable, Mapping


def renamed(name: str, table: Mapping[str, str]) -> str | None:
    """The name with its prefix exchanged; None if the table has no prefix of it."""
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        prefix = ".".join(parts[:end])
        if prefix in table:
            return ".".join([table[prefix], *parts[end:]])
    return None


def all_renamed(names: Iterable[str], table: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """Old names -> new ones, and the names that the table does not know."""
    found = {name: renamed(name, table) for name in names}
    return {old: new for old, new in found.items() if new is not None}, [old for old, new in found.items() if new is None]


def turned(table: Mapping[str, str]) -> dict[str, str]:
    """The table the other way round. ValueError if two prefixes become one."""
    back = {new: old for old, new in table.items()}
    if len(back) != len(table):
        raise ValueError("two names became one")
    return back
