"""birth: a run folder with a model as it is drawn, before any training."""

from __future__ import annotations

from pathlib import Path

from cdkit.build import assemble
from cdkit.engine.autoencoder import take_autoencoder
from cdkit.engine.checkpoint import write_checkpoint
from cdkit.engine.run import Run
from cdkit.engine.train import facts
from cdkit.engine.weights import weights_of
from cdkit.spec import Spec


def give_birth(spec: Spec, out: Path) -> Path:
    """Draw the weights of a spec and leave them in `out` as step 0 of a run, which can be loaded, trained or compared."""
    run = Run.create(out, spec)
    with run.lock():
        model = assemble(spec)
        take_autoencoder(model)
        write_checkpoint(run.checkpoints, 0, weights_of(model), {"ledger": {}, "ema_updates": 0}, facts(spec))
    return run.path
