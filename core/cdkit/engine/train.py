"""train: a spec becomes a run, or a run goes on, on a device and in a folder that are known to be there first."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import torch

from cdkit.engine.checkpoint import committed
from cdkit.engine.device import pick_device
from cdkit.engine.ranks import ALONE, Ranks
from cdkit.engine.run import SPEC, Run
from cdkit.engine.stop import stoppable
from cdkit.engine.trainer import Say, Trainer
from cdkit.errors import UsageError
from cdkit.spec import Spec


def train(
    spec: Spec,
    out: Path,
    *,
    device: str | None = None,
    init_from: Run | None = None,
    minutes: float | None = None,
    override: bool = False,
    fallback: bool = False,
    allow_data_change: bool = False,
    strict: bool = False,
    fast: bool = True,
    say: Say = print,
    ranks: Ranks = ALONE,
) -> Run:
    """Train a spec into the run folder `out`, or go on where it stopped. Returns the run.

    init_from: start a new run from this one's weights. minutes: stop, saved, after about so long. override: go on although
    the spec has changed. fallback: set a damaged checkpoint aside and go on from an older one. allow_data_change: go on although
    the data set has changed. strict: rather refuse than go on with parts of another version. fast: on a GPU, by every exact
    means (`cdkit.fast`). ranks: the processes that train it together, each of which calls this. Raises Stopped after a signal,
    NumericsError before an update that would spoil the weights, DataError for pictures that cannot be read, and
    EnvironmentFault for memory or a device that is not there; all that was learned by then is saved, or was before.
    """
    check_base(spec, out, init_from)
    with stoppable() as stop, ExitStack() as held:

        def made(run: Run) -> Trainer:
            where = pick_device(ranks.place(device))
            return ranks.each(lambda: Trainer(spec, run, where, say if ranks.leads else unsaid, ranks, fast=fast))

        def opened() -> Run:
            run = Run(out) if override and (out / SPEC).is_file() else Run.create(out, spec)
            held.enter_context(run.lock())
            if override:
                run.rewrite(spec)
            return run

        # A run that cannot begin leaves no folder: a new one is made only when its data and its device are known to be there.
        trainer = None if ranks.told((out / SPEC).is_file()) else made(Run(out))
        run = ranks.led(opened)
        trainer = trainer or made(run)
        trainer.begin(init_from, fallback=fallback, same_data=not (allow_data_change or override), strict=strict)
        with torch.random.fork_rng(devices=[trainer.device] if trainer.device.type == "cuda" else []):
            trainer.go(stop, minutes)
    return run


def unsaid(line: str) -> None:
    """What a process that does not lead says."""
    del line


def check_base(spec: Spec, out: Path, init_from: Run | None) -> None:
    """UsageError for a LoRA that would adapt a network nobody has trained."""
    if spec.lora is not None and init_from is None and not committed(out / "checkpoints"):
        raise UsageError(
            f"{spec.place}: a LoRA adapts a network that is trained, and this run would start from one that is not",
            hint="name the run whose weights it adapts: cdkit train SPEC --init-from RUN",
        )
