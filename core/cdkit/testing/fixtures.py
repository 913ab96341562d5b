"""cdkit_registry: a registry of cdkit's own parts and of those that a test adds; what else is installed is not found.

In a conftest.py:  from cdkit.testing.fixtures import cdkit_registry
"""

from __future__ import annotations

from typing import Any

import pytest

from cdkit.registry import Registry
from cdkit.registry.metadata import ADMITTED, BARRED


class IsolatedRegistry:
    """What `Registry.installed()` answers while the fixture lasts: cdkit's own parts, and those that were added."""

    def __init__(self, own: Registry) -> None:
        self.registry = own

    def add(self, kind: str, name: str, part: Any) -> None:
        """A part that specs may name from now on. PluginError for an unknown kind, ValueError for what is no name."""
        self.registry = self.registry.extended({(kind, name): part})


@pytest.fixture
def cdkit_registry(monkeypatch: pytest.MonkeyPatch) -> IsolatedRegistry:
    """No plugin that happens to be installed is discovered: `add` is the only way in."""
    monkeypatch.setenv(ADMITTED, "")
    monkeypatch.delenv(BARRED, raising=False)
    isolated = IsolatedRegistry(Registry.installed())
    monkeypatch.setattr(Registry, "installed", lambda: isolated.registry)
    return isolated
