"""Registry: names -> parts. Names come from metadata; a module is imported when its part is asked for, and never before."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from cdkit.errors import PluginError
from cdkit.hooks import KINDS, Trial
from cdkit.registry.load import load, trial_of
from cdkit.registry.metadata import claims
from cdkit.registry.names import NO_IMPORTS, a, did_you_mean, is_name, normal, quoted
from cdkit.registry.record import Entry, Record
from cdkit.registry.requirements import OWN

Factory: TypeAlias = Callable[..., Any]
IN_MEMORY = "in-memory"


class UnknownPart(PluginError):
    """No installed distribution offers this name, or more than one does."""


class BrokenPlugin(PluginError):
    """A plugin that was found and cannot be used; its record says why."""

    def __init__(self, record: Record) -> None:
        entry = record.entry
        super().__init__(
            f"{entry.kind} {entry.name!r} cannot be used: {record}",
            hint=f"{record.mend}; `cdkit plugins show {entry.kind}.{entry.full}` shows more",
        )
        self.record = record


class Registry:
    """Parts by kind and name. `Registry.installed()` reads what is installed; `extended` adds parts in memory."""

    def __init__(self, records: Iterable[Record] = (), parts: Mapping[tuple[str, str], Factory] | None = None) -> None:
        self._records = {record.entry: record for record in records}
        self._parts: dict[Entry, Any] = {}
        self._added = dict(parts or {})

    @classmethod
    def installed(cls) -> Registry:
        """What the installed distributions claim, less those that the environment shuts out. Imports none of them."""
        return cls(claims())

    def extended(self, parts: Mapping[tuple[str, str], Factory]) -> Registry:
        """A copy with parts in memory, by (kind, name), which go before installed ones of that name: for tests, notebooks."""
        for kind, name in parts:
            check_kind(kind)
            if not is_name(name) or "/" in name:
                raise ValueError(f"{quoted(name)} is no name of {a(kind)}; {NO_IMPORTS}")
        copy = Registry(self._records.values(), {**self._added, **parts})
        copy._parts = dict(self._parts)
        return copy

    def names(self, kind: str) -> list[str]:
        """What a spec may write for this kind, sorted: bare names, and `dist/name` where another distribution claims one too."""
        check_kind(kind)
        written = {name for of, name in self._added if of == kind}
        for name, entries in self._claims(kind).items():
            if name not in written:
                holder = _holder(entries)
                written |= {name if entry == holder else entry.full for entry in entries}
        return sorted(written)

    def get(self, kind: str, name: str) -> Any:
        """The part's factory (a run's folder), its module imported now if it was not. PluginError with the reason if not."""
        if (kind, name) in self._added:
            return self._added[kind, name]
        entry = self._find(kind, name)
        if self._records[entry].status == "installed":
            self._parts[entry], self._records[entry] = load(entry)
        if self._records[entry].status != "loaded":
            raise BrokenPlugin(self._records[entry])
        return self._parts[entry]

    def each(self, kind: str) -> dict[str, Any]:
        """Every part of a kind that can be loaded, by name, for a question to all of them: who recognises this file?

        One that cannot be loaded is told of on stderr and left out: nobody named it.
        """
        found: dict[str, Any] = {}
        for name in self.names(kind):
            try:
                found[name] = self.get(kind, name)
            except BrokenPlugin as error:
                print(f"warning: {error}", file=sys.stderr)
        return found

    def provider(self, kind: str, name: str) -> str:
        """`dist==version` that offers the name, or "in-memory". Imports nothing."""
        return IN_MEMORY if (kind, name) in self._added else self._find(kind, name).provider

    def own(self, kind: str, name: str) -> bool:
        """Does the part come with cdkit itself? Imports nothing."""
        return (kind, name) not in self._added and self._find(kind, name).dist == OWN

    def records(self) -> list[Record]:
        """What is known of every entry point, in a fixed order; parts in memory have none."""
        return list(self._records.values())

    def record(self, kind: str, name: str) -> Record | None:
        """What is known of one name; None for a part in memory."""
        return None if (kind, name) in self._added else self._records[self._find(kind, name)]

    def note(self, entry: Entry) -> str:
        """How the entry's part is reached where its bare name is not enough, and why; "" where it is."""
        rivals = self._claims(entry.kind).get(entry.name, []) if self._records[entry].usable else []
        if len(rivals) < 2 or _holder(rivals) == entry:
            return ""
        others = " and ".join(rival.provider for rival in rivals if rival != entry)
        return f"as `{entry.full}`, since {others} {'has' if len(rivals) == 2 else 'have'} the name too"

    def trial(self, kind: str, name: str) -> Trial:
        """How the part wants to be tried; of a part in memory nothing is known."""
        return Trial() if (kind, name) in self._added else trial_of(self._find(kind, name))

    def _claims(self, kind: str) -> dict[str, list[Entry]]:
        """The entries of a kind that may be used, by name."""
        found: dict[str, list[Entry]] = {}
        for entry, record in self._records.items():
            if entry.kind == kind and record.usable:
                found.setdefault(entry.name, []).append(entry)
        return found

    def _find(self, kind: str, name: str) -> Entry:
        """The one entry that a name stands for. UnknownPart where there is none, or more than one."""
        check_kind(kind)
        if not is_name(name):
            raise UnknownPart(f"{quoted(name)} is no name of {a(kind)}; {NO_IMPORTS}", hint=self._there_are(kind))
        dist, _, bare = name.rpartition("/")
        entries = [entry for entry in self._claims(kind).get(bare, []) if not dist or entry.dist == normal(dist)]
        if holder := _holder(entries):
            return holder
        raise self._ambiguous(kind, name, entries) if entries else self._unknown(kind, name)

    def _ambiguous(self, kind: str, name: str, entries: list[Entry]) -> UnknownPart:
        dists = " and ".join(entry.provider for entry in entries)
        full = " or ".join(dict.fromkeys(f"`{entry.full}`" for entry in entries))
        return UnknownPart(f"{kind} {name!r} is offered by {dists}, so the name alone says neither", hint=f"write {full}")

    def _unknown(self, kind: str, name: str) -> UnknownPart:
        """Nobody offers the name: say what is near, who is shut out, and where else the name lives."""
        dist, _, bare = name.rpartition("/")
        full = [entry.full for entries in self._claims(kind).values() for entry in entries]
        known = full if dist else self.names(kind)
        message, near = f"there is no {kind} {name!r}", did_you_mean(name, known, lambda close: self.provider(kind, close))
        for record in self._records.values():
            entry = record.entry
            if not record.usable and (entry.kind, entry.name) == (kind, bare) and dist in ("", entry.dist):
                return UnknownPart(f"{message}; {entry.provider} offers it, but {record.error}", hint=record.mend)
        elsewhere = [entry for entry in self._records if entry.name == bare and entry.kind != kind]
        also = "".join(f"; {entry.name!r} of {entry.provider} is of the kind {entry.kind}" for entry in elsewhere[:1])
        return UnknownPart(message + also + near, hint=self._there_are(kind))

    def _there_are(self, kind: str) -> str:
        """What exists, by the distribution that provides it."""
        by: dict[str, list[str]] = {}
        for name in self.names(kind):
            by.setdefault(self.provider(kind, name), []).append(name)
        parts = [f"{', '.join(names)} ({provider})" for provider, names in by.items()]
        return f"installed for {kind}: {'; '.join(parts) or 'none'}"


def _holder(entries: Sequence[Entry]) -> Entry | None:
    """Whom a bare name stands for: the one that claims it, or cdkit itself, so that an installation changes no spec's meaning."""
    own = [entry for entry in entries if entry.dist == OWN]
    return entries[0] if len(entries) == 1 else own[0] if len(own) == 1 else None


def check_kind(kind: str) -> None:
    if kind not in KINDS:
        raise PluginError(f"there is no kind {quoted(kind)}{did_you_mean(kind, KINDS)}", hint=f"the kinds are {', '.join(KINDS)}")
