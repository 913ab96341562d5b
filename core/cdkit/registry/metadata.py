"""What installed distributions claim, read from their metadata alone: no plugin is imported here."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import entry_points
from importlib.util import find_spec

from cdkit.hooks import GROUP, KINDS
from cdkit.registry.names import NAME, RULE, did_you_mean, quoted
from cdkit.registry.record import Entry, Record

OWN = "cdkit"
VERBS = "cdkit.cli"  # a module of it is a verb
ADMITTED = "CDKIT_PLUGINS"
BARRED = "CDKIT_NO_PLUGIN"


def claims() -> list[Record]:
    """A record of every entry point of the group, in a fixed order, each (distribution, name, value) once."""
    doors = Doors(listed(ADMITTED), listed(BARRED) or frozenset())
    entries = dict.fromkeys(_entries())
    return [judged(entry, doors) for entry in sorted(entries, key=lambda e: (e.kind, e.name, e.dist, e.value))]


@dataclass(frozen=True, slots=True)
class Doors:
    """Which distributions may give parts, beside cdkit itself: those admitted (None: all of them), less those barred."""

    admitted: frozenset[str] | None = None
    barred: frozenset[str] = frozenset()

    def refusal(self, dist: str) -> str:
        """Why a distribution stays outside; "" where it does not."""
        if dist == OWN:
            return ""
        if dist in self.barred:
            return f"{BARRED} bars {', '.join(sorted(self.barred))}"
        if self.admitted is not None and dist not in self.admitted:
            return f"{ADMITTED} admits {', '.join(sorted(self.admitted)) or 'no plugin'}"
        return ""


def listed(variable: str) -> frozenset[str] | None:
    """The distributions that an environment variable names, with commas between them; None where it is not set."""
    written = os.environ.get(variable)
    if written is None:
        return None
    return frozenset(normal(name) for name in written.split(",") if name.strip())


def normal(dist: str) -> str:
    """A distribution's name as package indexes compare it."""
    return re.sub(r"[-_.]+", "-", dist.strip()).lower()


def judged(entry: Entry, doors: Doors) -> Record:
    """The entry as it stands before anything is imported."""
    if reason := _fault(entry):
        return Record(entry, "refused", error=reason)
    if reason := doors.refusal(entry.dist):
        return Record(entry, "shut out", error=reason)
    return Record(entry, "installed")


def _entries() -> Iterator[Entry]:
    for point in entry_points(group=GROUP):
        kind, _, name = point.name.partition(".")
        dist, version = (point.dist.name, point.dist.version) if point.dist else ("", "")
        yield Entry(kind, name, normal(dist), version, point.value)


def _fault(entry: Entry) -> str:
    if entry.kind not in KINDS:
        return f"there is no kind {quoted(entry.kind)}; the kinds are {', '.join(KINDS)}{did_you_mean(entry.kind, KINDS)}"
    if not NAME.fullmatch(entry.name):
        return f"{quoted(entry.name)} is no name; {RULE}"
    if entry.kind == "command" and find_spec(f"{VERBS}.{entry.name}"):
        return f"cdkit has a command {entry.name!r} of its own"
    return ""
