"""inherit, adapt: what a run has learned, taken by another model: wherever name and shape agree, or whole, to be adapted."""

from __future__ import annotations

from cdkit.conditions import Ledger
from cdkit.engine.checkpoint import Checkpoint
from cdkit.engine.merged import merged, merged_or_read
from cdkit.engine.run import Run
from cdkit.engine.weights import load_exactly, load_matching, trained_lora, weights_of
from cdkit.model import Model


def inherit(model: Model, run: Run, checkpoint: Checkpoint) -> str:
    """Weights, and how often the conditions that are read alike were silent; returns what was done, for a person."""
    counts = load_matching(model, merged_or_read(run, checkpoint))
    known, theirs = Ledger.from_json(checkpoint.state()["ledger"]).counts, run.spec().conditions
    for name in model.told:
        if name in known and name in theirs and theirs[name].part.use == model.spec.conditions[name].part.use:
            model.ledger.counts[name] = known[name]
    return (
        f"{run.path} at step {checkpoint.step}: {counts['taken']} tensors taken, {counts['new']} new, {counts['unused']} unused"
    )


def adapt(model: Model, run: Run, checkpoint: Checkpoint) -> str:
    """The whole of a run's model, as it draws, its LoRA merged if it has one; and a new LoRA beside it. Returns what was done."""
    base = merged(run, checkpoint)
    for name, tensors in weights_of(base).items():
        load_exactly(getattr(model, name), tensors, f"{checkpoint.folder / name}.safetensors")
    model.ledger = base.ledger
    lora = trained_lora(model)
    assert lora is not None
    count = sum(parameter.numel() for parameter in lora.parameters())
    return f"{run.path} at step {checkpoint.step}, which stays as it is, by a LoRA of {len(lora)} layers and {count:,} weights"
