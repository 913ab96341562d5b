"""adapt: the LoRA that a spec asks for, beside a network that is frozen."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from cdkit.errors import SpecError
from cdkit.model.lora import TRAINED, chosen, drawn

if TYPE_CHECKING:
    from cdkit.model import Model
    from cdkit.spec import Spec

SHOWN = 12  # names in an error


def adapt(model: Model, spec: Spec) -> None:
    """Freeze every weight and add the spec's LoRA, the only ones that learn. SpecError for a target that means no layer."""
    assert spec.lora is not None
    layers = model.layers()
    meant = {target: chosen(layers, target) for target in spec.lora.targets}
    missing = [target for target, names in meant.items() if not names]
    if missing or not meant:
        what = f"{missing[0]!r} means no layer of {spec.backbone.use} or its injectors" if missing else "is empty"
        raise SpecError(f"{spec.places.get('lora', spec.place)}: lora.targets: {what}", hint=f"there are {some(layers)}")
    names = [name for name in layers if any(name in found for found in meant.values())]
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    model.loras[TRAINED] = drawn({name: layers[name] for name in names}, spec.lora.rank, spec.lora.alpha, spec.seed)


def some(layers: Iterable[str]) -> str:
    """The last words of the layers' names, each once: what a target most often is."""
    ends = list(dict.fromkeys(name.rpartition(".")[2] for name in layers if not name.rpartition(".")[2].isdigit()))
    more = f" and {len(ends) - SHOWN} more" if len(ends) > SHOWN else ""
    return (", ".join(ends[:SHOWN]) + more) or "none: this backbone declares no layer that could be adapted"
