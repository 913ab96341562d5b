"""prove: trace, then probe; an error where a condition is lost, and a record of what was shown where none is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cdkit.build.liveness.paths import paths
from cdkit.build.liveness.probe import probe
from cdkit.build.liveness.told import check_told
from cdkit.build.liveness.trace import trace
from cdkit.build.liveness.twin import twin
from cdkit.model import Model


@dataclass(frozen=True, slots=True)
class Proof:
    """What was shown of each condition: through which injectors it reaches the output, and how it was shown."""

    through: Mapping[str, tuple[str, ...]]  # condition -> injectors
    effects: Mapping[str, float]  # injector -> change of the twin's output, as a share of its size
    probed: bool  # False: the network has no narrow twin, so the trace alone speaks

    def to_json(self) -> dict[str, object]:
        shown = "trace and probe" if self.probed else "trace alone: the backbone has no narrow form"
        return {name: {"reaches_output": True, "through": list(by), "shown_by": shown} for name, by in self.through.items()}


def prove(full: Model) -> Proof:
    """Prove that every condition of a spec, assembled on the meta device, reaches the output. Raises SpecError if one cannot."""
    check_told(full.spec, full)
    trace(full)
    small = twin(full.spec, full)
    effects = probe(small) if small is not None else {}
    through: dict[str, tuple[str, ...]] = {}
    for path in paths(full.spec):
        through[path.condition] = tuple(dict.fromkeys((*through.get(path.condition, ()), path.injector)))
    return Proof(through, effects, probed=small is not None)
