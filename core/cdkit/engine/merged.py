"""The weights of a run as it draws with them, the LoRA that it trained merged: for whoever goes on without one."""

from __future__ import annotations

from torch import Tensor

from cdkit.build import assemble
from cdkit.engine.checkpoint import Checkpoint
from cdkit.engine.run import Run
from cdkit.engine.weights import LORA, load_weights, place_of, weights_in, weights_of
from cdkit.model import Model


def merged(run: Run, checkpoint: Checkpoint, *, averaged: bool = True) -> Model:
    """The same answers as the run's own model, and no tensor beside those of its network."""
    model = assemble(run.spec(), drawn=False)
    load_weights(model, checkpoint, averaged=averaged)
    model.merge_loras()
    return model


def merged_or_read(run: Run, checkpoint: Checkpoint) -> dict[str, Tensor]:
    """Every weight of a run by its name in a model, as the run draws with it: averaged, and with its LoRA in it."""
    if LORA in checkpoint.names:
        files = weights_of(merged(run, checkpoint))
        return {place_of(file, key): value for file, tensors in files.items() for key, value in tensors.items()}
    return weights_in(checkpoint)
