"""Entry and Record: what a distribution's metadata claims, and what became of the claim."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Status: TypeAlias = Literal["installed", "loaded", "failed", "shut out", "refused"]


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


@dataclass(frozen=True, slots=True)
class Record:
    """What is known of one entry point: installed (not imported yet), loaded, failed, shut out by the environment, or refused."""

    entry: Entry
    status: Status
    milliseconds: float | None = None  # that its import took
    error: str = ""  # what went wrong, in one line
    where: str = ""  # file:line of the last frame inside the plugin
    trace: str = ""  # the traceback, from the plugin's own import on

    def __str__(self) -> str:
        """The failure, with everything that its author is asked for."""
        at = f" ({self.where})" if self.where else ""
        entry = self.entry
        return f"{entry.dist} {entry.version}, entry point {entry.kind}.{entry.name} = {entry.value}: {self.error}{at}"

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
            "traceback": self.trace or None,
        }
