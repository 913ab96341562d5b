"""Entry and Record: what a distribution's metadata claims, and what became of the claim."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from cdkit.registry.names import brief

Status: TypeAlias = Literal["installed", "loaded", "failed", "incompatible", "shut out", "refused"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a distribution's entry points: `kind.name = value`. Read from metadata; nothing was imported."""

    kind: str
    name: str
    dist: str
    version: str
    value: str  # "module" or "module:object"

    @property
    def provider(self) -> str:
        return f"{self.dist}=={self.version}"

    @property
    def full(self) -> str:
        return f"{self.dist}/{self.name}"

    @property
    def line(self) -> str:
        """As its author wrote it, for a terminal; the file's name where the file could not be read."""
        return brief(f"{self.kind}.{self.name} = {self.value}", 200) if self.kind or self.name else "entry_points.txt"


@dataclass(frozen=True, slots=True)
class Record:
    """What is known of one entry point: installed (not imported yet), loaded, failed, made for another cdkit, shut out by the
    environment, or refused.
    """

    entry: Entry
    status: Status
    milliseconds: float | None = None  # that its import took
    error: str = ""  # what went wrong, in one line
    where: str = ""  # file:line of the last frame inside the plugin
    trace: str = ""  # the traceback, from the plugin's own import on
    mend: str = ""  # what its user can do about it

    @property
    def usable(self) -> bool:
        """May a name stand for it? One that was imported and failed keeps its name: who writes it is told why."""
        return self.status == "installed" or self.milliseconds is not None

    @property
    def at_fault(self) -> bool:
        """Is something wrong with it? What its user shut out is as it should be."""
        return self.status in ("failed", "incompatible", "refused")

    def __str__(self) -> str:
        """The failure, with everything that its author is asked for."""
        at = f" ({self.where})" if self.where else ""
        return f"{self.entry.dist} {self.entry.version}, entry point {self.entry.line}: {self.error}{at}"

    def to_json(self) -> dict[str, object]:
        """Plain values for `--json`."""
        entry = self.entry
        return {
            "kind": entry.kind,
            "name": entry.name,
            "distribution": entry.dist,
            "version": entry.version,
            "module": entry.value,
            "status": self.status,
            "milliseconds": self.milliseconds,
            "error": self.error or None,
            "where": self.where or None,
            "mend": self.mend or None,
            "traceback": self.trace or None,
        }
