"""What installed distributions claim, read from their metadata alone: no plugin is imported here."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec

from cdkit.hooks import KINDS
from cdkit.registry.distributions import Offer, offers
from cdkit.registry.names import NAME, RULE, did_you_mean, normal, quoted
from cdkit.registry.record import Entry, Record
from cdkit.registry.requirements import OWN, excludes
from cdkit.version import VERSION

VERBS = "cdkit.cli"  # a module of it is a verb
ADMITTED = "CDKIT_PLUGINS"
BARRED = "CDKIT_NO_PLUGIN"
VALUE = re.compile(r"(?P<module>[\w.]+)\s*(:\s*(?P<object>[\w.]+)\s*)?(\[.*\])?")


def claims() -> list[Record]:
    """A record of every entry point of the group, in a fixed order, each (distribution, name, value) once."""
    doors = Doors(listed(ADMITTED), listed(BARRED) or frozenset())
    found = [record for offer in offers() for record in _judged(offer, doors)]
    return sorted(found, key=lambda record: _order(record.entry))


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


def _order(entry: Entry) -> tuple[str, str, str, str]:
    return entry.kind, entry.name, entry.dist, entry.value


def _judged(offer: Offer, doors: Doors) -> Iterator[Record]:
    """A distribution's entry points as they stand before anything is imported; one record where not even they can be read."""
    entries = list(dict.fromkeys(_entries(offer))) or [Entry("", "", offer.dist, offer.version, "")]
    times = Counter((entry.kind, entry.name) for entry in entries)
    shut = doors.refusal(offer.dist)
    needs = "" if offer.dist == OWN else excludes(offer.requires)
    for entry in entries:
        if offer.fault:
            again = f"`pip install --force-reinstall {offer.dist}` writes it anew, or uninstall it"
            yield Record(entry, "refused", error=offer.fault, mend=again)
        elif reason := _fault(entry, times[entry.kind, entry.name]):
            yield Record(entry, "refused", error=reason, mend=f"`pip install --upgrade {entry.dist}`, or tell its author")
        elif shut:
            yield Record(entry, "shut out", error=shut)
        elif needs:
            mend = f"`pip install --upgrade {entry.dist}` may bring one that fits; it asks for `pip install 'cdkit{needs}'`"
            yield Record(entry, "incompatible", error=f"it needs cdkit{needs}, this is {VERSION}", mend=mend)
        else:
            yield Record(entry, "installed")


def _entries(offer: Offer) -> Iterator[Entry]:
    for point, value in offer.points:
        kind, _, name = point.partition(".")
        yield Entry(kind, name, offer.dist, offer.version, value)


def _fault(entry: Entry, times: int) -> str:
    if entry.kind not in KINDS:
        return f"there is no kind {quoted(entry.kind)}; the kinds are {', '.join(KINDS)}{did_you_mean(entry.kind, KINDS)}"
    if not NAME.fullmatch(entry.name):
        return f"{quoted(entry.name)} is no name; {RULE}"
    if not _is_value(entry.value):
        return f"{quoted(entry.value)} is no module; expected `package.module` or `package.module:object`"
    if times > 1:
        return f"it claims the name {entry.name!r} {times} times, for as many modules"
    if entry.kind == "command" and "." not in entry.name and find_spec(f"{VERBS}.{entry.name}"):
        return f"cdkit has a command {entry.name!r} of its own"
    return ""


def _is_value(value: str) -> bool:
    """Can it be looked up? Every piece between the dots has to be an identifier."""
    match = VALUE.fullmatch(value)
    return match is not None and all(
        piece.isidentifier() for dotted in (match["module"], match["object"]) if dotted for piece in dotted.split(".")
    )
