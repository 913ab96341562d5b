"""Attending: what methods share that attend to the tokens of one stream: their heads, their inner width, and where they tap."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from cdkit.parts import Positive, Site, Tap, Widths

from cdkit_injectors.heads import Heads
from cdkit_injectors.inner import Inner
from cdkit_injectors.streams import only


class Attending(ABC):
    """Fills `attend` sites, with as many heads and as wide inside as its options say."""

    method: ClassVar[str]

    def __init__(
        self,
        streams: tuple[str, ...],
        widths: tuple[Widths, ...],
        *,
        heads: Positive | None = None,
        head_dim: Positive | None = None,
        inner: Inner | None = None,
    ) -> None:
        _, self.width = only(self.method, streams, widths, "tokens")
        self.heads = Heads(self.method, heads, head_dim)
        self.inner = inner

    @abstractmethod
    def made(self, channels: int, *, heads: int, inner: int) -> Tap:
        """The tap of a site of so many channels."""

    def tap(self, site: Site) -> Tap | None:
        if site.kind != "attend":
            return None
        inner, heads = self.heads.inside(self.inner, site.width, site.name)
        return self.made(site.width, heads=heads, inner=inner)

    @classmethod
    def narrow(cls, options: Mapping[str, Any]) -> Mapping[str, Any]:
        """As many heads as any width allows."""
        return {name: value for name, value in options.items() if name not in ("heads", "head_dim", "inner")}
