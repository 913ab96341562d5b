"""The registry: which parts there are, by the names that installed distributions claim for them."""

from __future__ import annotations

from cdkit.registry.record import Record
from cdkit.registry.registry import BrokenPlugin, Factory, Registry, UnknownPart

__all__ = ["BrokenPlugin", "Factory", "Record", "Registry", "UnknownPart"]
