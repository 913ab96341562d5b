"""Models in others' layouts: which format a path is of, and a Model out of what it holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from cdkit.build import assemble
from cdkit.conditions import Ledger
from cdkit.engine.weights import load_exactly
from cdkit.errors import CheckpointError
from cdkit.model import Model
from cdkit.parts import Foreign, Format
from cdkit.registry import Registry
from cdkit.spec import Spec, read_spec
from cdkit.spec.fill import Plain
from cdkit.spec.here import anchored


def format_of(source: Path, registry: Registry) -> tuple[str, Format] | None:
    """The name of the format that recognises a path, and the format; None if none does. CheckpointError if several do."""
    formats: dict[str, Format] = {name: make() for name, make in registry.each("format").items()}
    found = [name for name, format in formats.items() if source.exists() and format.recognises(source)]
    if len(found) > 1:
        raise CheckpointError(f"{source}: is recognised by several formats: {', '.join(found)}")
    return (found[0], formats[found[0]]) if found else None


def spec_in(foreign: Foreign, folder: Path) -> Spec:
    """Its spec, with the folders beside the weights looked for in `folder`."""
    return read_spec(text_of(anchored(foreign.spec, folder)))


def text_of(spec: Any) -> str:
    return yaml.dump(spec, Dumper=Plain, sort_keys=False, allow_unicode=True, default_flow_style=None, width=120)


def model_of(foreign: Foreign, spec: Spec, where: str) -> Model:
    """A Model with its weights. where: named in errors. Nobody knows how often its conditions were silent in training."""
    model = assemble(spec, drawn=False)
    if model.encoders.state_dict():
        raise CheckpointError(f"{where}: its encoders have weights of their own, and the format brings none")
    load_exactly(model.backbone, foreign.weights, where)
    model.ledger = Ledger(dict.fromkeys(model.told))
    return model
