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
    from cdkit.engine.load import load
    from cdkit.model import Model
    from cdkit.spec import Spec, read_spec

__version__ = VERSION
__all__ = ["Model", "Spec", "__version__", "load", "read_spec"]

_HOME = {"load": "cdkit.engine.load", "Model": "cdkit.model", "Spec": "cdkit.spec", "read_spec": "cdkit.spec"}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'cdkit' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
