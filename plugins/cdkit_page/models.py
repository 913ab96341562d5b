"""models: the runs that the page shows, loaded once, and what it has to know of each to ask well."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cdkit
from cdkit.parts import UsageError


def loaded(runs: Sequence[str], device: str | None) -> dict[str, cdkit.Model]:
    """Models by a name that is short and unique. CheckpointError for what is no run."""
    found: dict[str, cdkit.Model] = {}
    for run in dict.fromkeys(runs):
        name = Path(run).name or run
        number = sum(1 for other in found if other.partition(" ")[0] == name)
        found[f"{name} {number + 1}" if number else name] = cdkit.load(run, device=device)
    return found


def samplers() -> list[str]:
    """The samplers that need no options."""
    registry = cdkit.Registry.installed()
    return [name for name in registry.names("sampler") if plain(registry.get("sampler", name))]


def plain(factory: Any) -> bool:
    try:
        factory()
    except TypeError:
        return False
    return True


def about(models: dict[str, cdkit.Model]) -> dict[str, Any]:
    """What the page is told of the models before anything is asked."""
    return {"samplers": samplers(), "runs": {name: facts(model) for name, model in models.items()}}


def facts(model: cdkit.Model) -> dict[str, Any]:
    """Defaults of a model, and what it is told by; `prompts` are some that it was shown in training."""
    spec = model.spec
    guidance = None if spec.guidance is None else spec.guidance.options.get("scale")
    return {
        "told_by": [injector.part.use for injector in spec.injectors],
        "sampler": spec.sampler.part.use if spec.sampler else "",
        "steps": spec.sampler.steps if spec.sampler else 50,
        "guidance": guidance,
        "prompts": list(spec.train.prompts or ())[:12],
        "height": model.shape.height,
        "width": model.shape.width,
    }


def chosen(models: dict[str, cdkit.Model], names: Sequence[str]) -> dict[str, cdkit.Model]:
    """The models of these names, in this order. UsageError for one that the page does not show."""
    for name in names:
        if name not in models:
            raise UsageError(f"no run {name!r} is shown here; there are {', '.join(models)}")
    return {name: models[name] for name in names}
