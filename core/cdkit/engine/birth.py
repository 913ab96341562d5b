"""birth: a run folder with a model before any training: as it is drawn, or with what others have learned."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from cdkit.build import assemble
from cdkit.engine.autoencoder import take_autoencoder
from cdkit.engine.checkpoint import write_checkpoint
from cdkit.engine.inherit import inherit
from cdkit.engine.load import find_run
from cdkit.engine.run import Run, facts
from cdkit.engine.weights import weights_of
from cdkit.errors import CheckpointError
from cdkit.model import Model
from cdkit.model.lora_file import fitted, opened, some
from cdkit.spec import Spec

Say = Callable[[str], None]


def give_birth(spec: Spec, out: Path, *, init_from: Sequence[str] = (), say: Say = print) -> Path:
    """Draw the weights of a spec and leave them in `out` as step 0 of a run, which can be loaded, trained or compared.

    init_from: runs whose weights are taken where name and shape agree, and files of a part of a model (an IP-Adapter), one
    over the other. CheckpointError for a file that does not belong to this model.
    """
    model = assemble(spec)
    run = Run.create(out, spec)
    with run.lock():
        for source in init_from:
            say(take_part(model, Path(source)) if Path(source).is_file() else take_run(model, source))
        take_autoencoder(model, there=any(holds_autoencoder(source) for source in init_from))
        keep_birth(model, run)
    return run.path


def keep_birth(model: Model, run: Run) -> None:
    """The model as it is, as step 0 of a run, which training goes on from."""
    state = {"ledger": model.ledger.to_json(), "ema_updates": 0}
    write_checkpoint(run.checkpoints, 0, weights_of(model), state, facts(model.spec))


def take_run(model: Model, source: str) -> str:
    """What a run has learned, and how often its conditions were silent, where this model has them; in words."""
    run = find_run(source)
    checkpoint = run.latest()
    if checkpoint is None:
        raise CheckpointError(f"{run.path}: has no checkpoint yet", hint=f"cdkit train … --out {run.path}")
    return inherit(model, run, checkpoint)


def holds_autoencoder(source: str) -> bool:
    checkpoint = None if Path(source).is_file() else find_run(source).latest()
    return checkpoint is not None and "autoencoder" in checkpoint.names


def take_part(model: Model, file: Path) -> str:
    """A part of a model that others trained, every tensor of it in its place; in words."""
    tensors, _ = opened(file)
    own = dict(model.named_parameters())
    registry = model.spec.registry
    asked = [make().part(tuple(tensors), tuple(own)) for make in registry.each("format").values()]
    names = max((found for found in asked if found is not None), key=len, default={})
    unknown = [key for key in tensors if key not in names]
    if unknown or not tensors:
        raise CheckpointError(
            f"{file}: {len(unknown)} of {len(tensors)} tensors belong to no part of {model.spec.name}: {some(unknown) or 'none'}",
            hint="does the spec have what they are for? an IP-Adapter wants a `decoupled` injector and an `image` encoder",
        )
    with torch.no_grad():
        for key, name in names.items():
            own[name].copy_(tensors[key] if own[name].dim() < 2 else fitted(tensors[key], own[name], f"{file}: {key}"))
    model.ledger.counts |= {name: None for name in model.told if name not in model.ledger.counts}
    return f"{file}: {len(names)} tensors, all of them taken"
