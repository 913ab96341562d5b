"""merged: the model of a run, with the LoRA that it trained in its weights: for whoever goes on without one."""

from __future__ import annotations

from cdkit.build import assemble
from cdkit.engine.checkpoint import Checkpoint
from cdkit.engine.run import Run
from cdkit.engine.weights import load_weights
from cdkit.model import Model


def merged(run: Run, checkpoint: Checkpoint, *, averaged: bool = True) -> Model:
    """The same answers as the run's own model, and no tensor beside those of its network."""
    model = assemble(run.spec(), drawn=False)
    load_weights(model, checkpoint, averaged=averaged)
    model.merge_loras()
    return model
