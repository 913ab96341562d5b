"""deps: which distributions a spec's parts come from, and which of those are not here. It reads names; it imports no plugin."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cdkit.registry import Registry, UnknownPart
from cdkit.registry.catalogue import catalogue
from cdkit.spec.explain import KIND_OF
from cdkit.spec.layers import layered
from cdkit.spec.nodes import Listing, Node, Table, text_of
from cdkit.spec.place import Place

SPEC, VERSIONS = "spec.yaml", "versions.json"


@dataclass(frozen=True, slots=True)
class Need:
    """A part that a spec names. provider: who offers it here, "" if nobody; wanted: what to install then, "" if unknown."""

    kind: str
    name: str
    place: Place
    provider: str
    wanted: str = ""
    problem: str = ""

    @property
    def part(self) -> str:
        return f"{self.kind}.{self.name}"


def needs(source: Path, overrides: Sequence[str] = (), *, registry: Registry | None = None) -> list[Need]:
    """What a spec, or a run's, needs: each part once, in the order of the file. UsageError and SpecErrors for what is no spec.

    Who is missing is known where `versions.json` lies beside it, as in a run's folder, where the spec says `dist/name`, and where
    an installed catalogue lists the part.
    """
    file = source / SPEC if source.is_dir() else source
    root, _ = layered(file, overrides)
    told = {**catalogue(), **remembered(file.parent / VERSIONS)}
    known = registry or Registry.installed()
    found = {(kind, name): place for kind, name, place in named(root)}
    return [need(kind, name, place, known, told) for (kind, name), place in found.items()]


def need(kind: str, name: str, place: Place, registry: Registry, told: dict[str, str]) -> Need:
    try:
        return Need(kind, name, place, registry.provider(kind, name))
    except UnknownPart as error:
        dist = name.rpartition("/")[0]
        return Need(kind, name, place, "", told.get(f"{kind}.{name}", dist), str(error))


def named(root: Table) -> Iterator[tuple[str, str, Place]]:
    """Every part that a tree names: its kind by its section, its name as it is written."""
    for section, kind in KIND_OF.items():
        for node in parts_in(section, root.get(section)):
            use = node.get("use") if isinstance(node, Table) else None
            if use is not None and (name := text_of(use)):
                yield kind, name, use.place


def parts_in(section: str, node: Node | None) -> list[Node]:
    """The parts of a section: one, a list of them, or one for each name."""
    if isinstance(node, Listing):
        return list(node.items)
    if section == "conditions" and isinstance(node, Table):
        return [inner for key in node.entries if (inner := node.get(key)) is not None]
    return [] if node is None else [node]


def remembered(versions: Path) -> dict[str, str]:
    """What a run noted of its parts; nothing where no such file is, or it is damaged."""
    try:
        return dict(json.loads(versions.read_text(encoding="utf-8"))["parts"])
    except (OSError, ValueError, KeyError, TypeError):
        return {}
