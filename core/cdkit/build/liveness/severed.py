"""Severed: the edge at which a condition is lost, in words, and the SpecError that names it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cdkit.errors import SpecError

if TYPE_CHECKING:
    from cdkit.build.liveness.paths import Path
    from cdkit.spec import Spec


@dataclass(frozen=True, slots=True)
class Edge:
    """Where what a condition says is lost, and what shows it."""

    start: str
    end: str
    why: str

    def __str__(self) -> str:
        return f"severed between {self.start} and {self.end}: {self.why}"


class Severed(SpecError):
    """A declared condition cannot reach the output."""

    def __init__(self, spec: Spec, path: Path, edge: Edge) -> None:
        injector = next(i for i in spec.injectors if i.name == path.injector)
        super().__init__(
            f"{spec.conditions[path.condition].place}: conditions.{path.condition}: what it says cannot reach the output "
            f"through {path.injector!r} ({injector.place}); {edge}",
            hint="remove the condition or the injector, or mend the part that the edge names",
        )
        self.path, self.edge = path, edge


class Untold(SpecError):
    """A condition that the spec itself keeps silent, in training or in sampling."""

    def __init__(self, spec: Spec, condition: str, why: str, hint: str) -> None:
        super().__init__(f"{spec.conditions[condition].place}: conditions.{condition}: {why}", hint=hint)
