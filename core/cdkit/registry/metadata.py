"""What installed distributions claim, read from their metadata alone: no plugin is imported here."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from importlib.metadata import entry_points

from cdkit.hooks import GROUP, KINDS
from cdkit.registry.names import NAME, RULE, did_you_mean, quoted
from cdkit.registry.record import Entry, Record

OWN = "cdkit"
VARIABLE = "CDKIT_PLUGINS"


def claims() -> list[Record]:
    """A record of every entry point of the group, in a fixed order, each (distribution, name, value) once."""
    allowed = allow_list()
    entries = dict.fromkeys(_entries())
    return [judged(entry, allowed) for entry in sorted(entries, key=lambda e: (e.kind, e.name, e.dist, e.value))]


def allow_list() -> frozenset[str] | None:
    """The distributions that CDKIT_PLUGINS admits beside cdkit itself; None: it is not set, so all of them."""
    written = os.environ.get(VARIABLE)
    if written is None:
        return None
    return frozenset(normal(name) for name in written.split(",") if name.strip())


def normal(dist: str) -> str:
    """A distribution's name as package indexes compare it."""
    return re.sub(r"[-_.]+", "-", dist.strip()).lower()


def judged(entry: Entry, allowed: frozenset[str] | None) -> Record:
    """The entry as it stands before anything is imported."""
    if reason := _fault(entry):
        return Record(entry, "refused", error=reason)
    if allowed is not None and entry.dist not in allowed | {OWN}:
        return Record(entry, "shut out", error=f"{VARIABLE} admits {', '.join(sorted(allowed)) or 'no plugin'}")
    return Record(entry, "installed")


def _entries() -> Iterator[Entry]:
    for point in entry_points(group=GROUP):
        kind, _, name = point.name.partition(".")
        dist, version = (point.dist.name, point.dist.version) if point.dist else ("", "")
        yield Entry(kind, name, normal(dist), version, point.value)


def _fault(entry: Entry) -> str:
    if entry.kind not in KINDS:
        return f"there is no kind {quoted(entry.kind)}; the kinds are {', '.join(KINDS)}{did_you_mean(entry.kind, KINDS)}"
    return "" if NAME.fullmatch(entry.name) else f"{quoted(entry.name)} is no name; {RULE}"
