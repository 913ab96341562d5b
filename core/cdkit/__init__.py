"""Build, train, sample and compare conditional diffusion U-Nets out of registered parts.

    import cdkit
    model = cdkit.load("animals")            # a run, a shipped model, or a spec
    model.sample(["a cat"], seed=0).save("cat.png")

Nothing heavy is imported before it is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from cdkit.version import VERSION

if TYPE_CHECKING:
    from cdkit.compare.read import read_comparison
    from cdkit.compare.shown import Outcome, outcome
    from cdkit.engine.load import load
    from cdkit.model import Model, Samples
    from cdkit.model.atlas import Atlas, explain
    from cdkit.model.influence import Influence, influence
    from cdkit.model.pixels import to_picture
    from cdkit.model.trajectory import Moment, Trajectory
    from cdkit.registry import Registry
    from cdkit.spec import Spec, read_spec

__version__ = VERSION
__all__ = [
    "Atlas",
    "Influence",
    "Model",
    "Moment",
    "Outcome",
    "Registry",
    "Samples",
    "Spec",
    "Trajectory",
    "__version__",
    "explain",
    "influence",
    "load",
    "outcome",
    "read_comparison",
    "read_spec",
    "to_picture",
]

_HOME = {
    "Atlas": "cdkit.model.atlas",
    "Influence": "cdkit.model.influence",
    "Model": "cdkit.model",
    "Outcome": "cdkit.compare.shown",
    "outcome": "cdkit.compare.shown",
    "read_comparison": "cdkit.compare.read",
    "Moment": "cdkit.model.trajectory",
    "Registry": "cdkit.registry",
    "Samples": "cdkit.model",
    "Spec": "cdkit.spec",
    "Trajectory": "cdkit.model.trajectory",
    "explain": "cdkit.model.atlas",
    "influence": "cdkit.model.influence",
    "load": "cdkit.engine.load",
    "read_spec": "cdkit.spec",
    "to_picture": "cdkit.model.pixels",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'cdkit' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
