"""Nodes: what a YAML document holds, every piece with its place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from cdkit.spec.place import Place


@dataclass(frozen=True, slots=True)
class Scalar:
    """One value: text as it was written, and what YAML 1.2 reads in it (None, bool, int, float or str)."""

    text: str
    value: bool | int | float | str | None
    place: Place


@dataclass(frozen=True, slots=True)
class Listing:
    items: tuple[Node, ...]
    place: Place


@dataclass(frozen=True, slots=True)
class Entry:
    """A key's place and what stands under it. `deletes`: a null that takes away what an extended spec said."""

    place: Place
    node: Node
    deletes: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    entries: Mapping[str, Entry]
    place: Place

    def get(self, key: str) -> Node | None:
        """What stands under a key; None where it is absent or deleted."""
        entry = self.entries.get(key)
        return None if entry is None or entry.deletes else entry.node


Node: TypeAlias = Scalar | Listing | Table


def plain(node: Node) -> Any:
    """The node as dicts, lists and scalars; deleted entries are left out."""
    if isinstance(node, Scalar):
        return node.value
    if isinstance(node, Listing):
        return [plain(item) for item in node.items]
    return {key: plain(entry.node) for key, entry in node.entries.items() if not entry.deletes}


def below(node: Node | None, key: str) -> Node | None:
    """What stands under a key or an index; None where nothing was said."""
    if isinstance(node, Table):
        return node.get(key)
    if isinstance(node, Listing) and key.isdecimal() and int(key) < len(node.items):
        return node.items[int(key)]
    return None


def is_null(node: Node) -> bool:
    return isinstance(node, Scalar) and node.value is None


def text_of(node: Node | None) -> str | None:
    """The text of a scalar that is text; None for anything else."""
    return node.value if isinstance(node, Scalar) and isinstance(node.value, str) else None


def named(node: Node) -> str:
    """What kind of thing a node is, in words."""
    if isinstance(node, Listing):
        return "a list"
    if isinstance(node, Table):
        return "a mapping"
    kinds = {bool: "a truth value", int: "an integer", float: "a number", str: "text"}
    return "nothing (null)" if node.value is None else kinds[type(node.value)]
