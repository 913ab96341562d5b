"""Real taps in a wrapper that does something wrong, and real injectors all of whose taps are wrapped so."""

from __future__ import annotations

from typing import Any

from cdkit.parts import Joined, Site, Stream
from torch import Tensor, nn


class Wrapped(nn.Module):
    """A tap in a wrapper that changes nothing; who inherits from it does one thing wrong."""

    def __init__(self, tap: Any) -> None:
        super().__init__()
        self.tap = tap

    def prepare(self, *streams: Stream) -> Any:
        return self.tap.prepare(*streams)

    def forward(self, h: Tensor, signal: Any, emb: Tensor) -> Any:
        return self.tap(h, signal, emb)


class Deaf(Wrapped):
    """A tap that prepares as it should and then never listens."""

    def forward(self, h: Tensor, signal: Any, emb: Tensor) -> Any:
        out = self.tap(h, signal, emb)
        return Joined(h[:, :1]) if isinstance(out, Joined) else h


def with_taps(real: Any, wrapper: type[Wrapped]) -> Any:
    """The injector `real` with its options, every tap of which is in the wrapper."""

    class Wrong(real):
        def tap(self, site: Site) -> Any:
            tap = super().tap(site)
            return None if tap is None else wrapper(tap)

    return Wrong
