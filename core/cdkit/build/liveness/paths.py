"""Paths: from a condition's encoder, perhaps through joiners, to an injector that reads it."""

from __future__ import annotations

from dataclasses import dataclass

from cdkit.spec import Spec


@dataclass(frozen=True, slots=True)
class Path:
    """A condition with an encoder of its own, and an injector that reads it, by way of the stream it reads."""

    condition: str
    injector: str
    stream: str  # the condition itself, or the joiner that takes it in

    def __str__(self) -> str:
        through = "" if self.stream == self.condition else f" joined into {self.stream!r}"
        return f"{self.condition!r}{through}"


def paths(spec: Spec) -> list[Path]:
    """Every path of a spec, in the spec's order."""
    return [
        Path(source, injector.name, stream)
        for injector in spec.injectors
        for stream in injector.streams
        for source in sources(spec, stream)
    ]


def sources(spec: Spec, stream: str) -> list[str]:
    """The conditions with encoders of their own that a stream is made of."""
    parts = spec.conditions[stream].of
    if not parts:
        return [stream]
    return list(dict.fromkeys(source for part in parts for source in sources(spec, part)))
