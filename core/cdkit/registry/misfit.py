"""Misfit: a module was imported, but it is no plugin that can be used."""

from __future__ import annotations

from typing import Any

from cdkit.registry.record import Status


class Misfit(Exception):
    """culprit: the class or function at fault, of which the place is told. mend: what its user can do about it."""

    def __init__(self, message: str, culprit: Any = None, *, mend: str = "", status: Status = "failed") -> None:
        super().__init__(message)
        self.culprit = culprit
        self.mend = mend
        self.status: Status = status
