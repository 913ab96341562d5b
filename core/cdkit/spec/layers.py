"""Layers: a spec over the one that it extends, and what the command line sets over both."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from cdkit.errors import UsageError
from cdkit.registry.names import quoted
from cdkit.spec.compose import compose, compose_value
from cdkit.spec.nodes import Entry, Listing, Node, Scalar, Table, is_null, named, text_of
from cdkit.spec.place import Place
from cdkit.spec.problem import Problem, refusal
from cdkit.spec.source import file_text

FILE = re.compile(r"[^\W_][\w.-]*\.ya?ml")
TEXT = "<text>"


def layered(source: Path | str, overrides: Sequence[str]) -> tuple[Table, list[Problem]]:
    """The whole tree that a source says: what it extends, itself, and the overrides, each over the one before."""
    root, problems = (
        _extended(compose_root(source, TEXT), Path(), [TEXT])
        if isinstance(source, str) and "\n" in source
        else _file(Path(source), [])
    )
    for override in overrides:
        root, more = overridden(root, override)
        problems += more
    return root, problems


def compose_root(text: str, file: str) -> tuple[Table, list[Problem]]:
    """A document whose top is a mapping. SpecErrors for anything else."""
    node, problems = compose(text, file)
    if node is None:
        raise refusal([Problem(Place(file, 1, 1), "", "empty spec; expected a mapping", "begin with `cdkit: 1`", "empty")])
    if not isinstance(node, Table):
        raise refusal([Problem(node.place, "", f"the top level is {named(node)}; expected a mapping", code="type")])
    return node, problems


def _file(path: Path, chain: list[str]) -> tuple[Table, list[Problem]]:
    return _extended(compose_root(file_text(path), str(path)), path.parent, [*chain, str(path)])


def _extended(read: tuple[Table, list[Problem]], folder: Path, chain: list[str]) -> tuple[Table, list[Problem]]:
    """A tree over the one that its `extends` names, if it names one."""
    table, problems = read
    entry = table.entries.get("extends")
    if entry is None:
        return table, problems
    over = Table({key: value for key, value in table.entries.items() if key != "extends"}, table.place)
    base, more = _base(entry.node, folder, chain)
    merged = merge(base, over)
    assert isinstance(merged, Table)
    return merged, [*more, *problems]


def _base(node: Node, folder: Path, chain: list[str]) -> tuple[Table, list[Problem]]:
    """The file that `extends` names: one beside this one, that does not lead back here."""
    name = text_of(node)
    if name is None or not FILE.fullmatch(name):
        what = quoted(node.text) if isinstance(node, Scalar) else named(node)
        message = f"{what} is no file beside this one; expected a name such as base.yaml"
        raise refusal([Problem(node.place, "extends", message, "no folder, URL or absolute path", code="extends")])
    path = folder / name
    if os.path.realpath(path) in map(os.path.realpath, chain):
        circle = " -> ".join(Path(file).name for file in [*chain[_met(path, chain) :], str(path)])
        raise refusal([Problem(node.place, "extends", f"specs extend each other in a circle: {circle}", code="extends")])
    try:
        return _file(path, chain)
    except UsageError as error:
        raise refusal([Problem(node.place, "extends", str(error), error.hint, "extends")]) from error


def _met(path: Path, chain: list[str]) -> int:
    """Where in the chain a file was met, by whatever name."""
    return list(map(os.path.realpath, chain)).index(os.path.realpath(path))


def merge(base: Node, over: Node) -> Node:
    """Mappings are merged key by key, unless their `use` differs; anything else is replaced. A null takes the key away."""
    if not isinstance(base, Table) or not isinstance(over, Table) or _another_part(base, over):
        return over
    entries = dict(base.entries)
    for key, entry in over.entries.items():
        below = entries.get(key)
        deletes = below is not None and is_null(entry.node)
        entries[key] = Entry(entry.place, entry.node if below is None else merge(below.node, entry.node), deletes)
    return Table(entries, over.place)


def _another_part(base: Table, over: Table) -> bool:
    use = over.get("use")
    return use is not None and text_of(use) != text_of(base.get("use"))


def overridden(root: Table, override: str) -> tuple[Table, list[Problem]]:
    """The tree with one `a.b=value` over it. UsageError if it is not of this form."""
    path, equals, text = override.partition("=")
    keys = path.split(".")
    if not equals or not all(keys) or path != path.strip():
        raise UsageError(f"--set {quoted(override)} is no KEY=VALUE", hint="write it as --set backbone.width=64")
    file = f"--set {path}"
    if keys[0] == "extends":
        raise refusal([Problem(Place(file), "extends", "only a file can extend another", code="extends")])
    value, problems = compose_value(text, file)
    node = Scalar("", None, Place(file)) if value is None else value
    over = _set(root, keys, node, [])
    assert isinstance(over, Table)
    return over, problems


def _set(node: Node, keys: list[str], value: Node, done: list[str]) -> Node:
    """The node with a value put under a path of keys and list indices."""
    if not keys:
        return merge(node, value) if isinstance(node, Table) else value
    if isinstance(node, Listing):
        return _set_item(node, keys, value, done)
    below = node.get(keys[0]) if isinstance(node, Table) else None
    inner = _set(below or Table({}, value.place), keys[1:], value, [*done, keys[0]]) if len(keys) > 1 or below else value
    return merge(node, Table({keys[0]: Entry(value.place, inner)}, node.place))


def _set_item(node: Listing, keys: list[str], value: Node, done: list[str]) -> Node:
    where, key = ".".join(done), keys[0]
    if not key.isdecimal() or int(key) >= len(node.items):
        known = f"an index from 0 to {len(node.items) - 1}" if node.items else "no index: the list is empty"
        raise refusal([Problem(value.place, where, f"{quoted(key)} is no entry of this list; expected {known}", code="index")])
    index = int(key)
    item = _set(node.items[index], keys[1:], value, [*done, key])
    return Listing((*node.items[:index], item, *node.items[index + 1 :]), node.place)
