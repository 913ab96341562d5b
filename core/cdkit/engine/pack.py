"""pack: a run made small enough to ship. The averaged weights in float16, the filled spec, versions and a licence note."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from torch import Tensor

from cdkit.engine.checkpoint import Checkpoint, write_checkpoint
from cdkit.engine.run import SPEC, VERSIONS, Run
from cdkit.engine.weights import files_of, place_of
from cdkit.errors import CheckpointError, NumericsError, UsageError


def pack(run: Run, out: Path, *, licence: str) -> Path:
    """Leave `out`: a run of one checkpoint that can be loaded, drawn with and fine-tuned from, but not resumed."""
    if out.exists():
        raise UsageError(f"{out}: is there already; expected a new folder")
    checkpoint = run.latest()
    if checkpoint is None:
        raise CheckpointError(f"{run.path}: has no checkpoint yet")
    weights = halved(checkpoint)
    out.mkdir(parents=True)
    for name in (SPEC, VERSIONS):
        if (run.path / name).is_file():
            shutil.copyfile(run.path / name, out / name)
    (out / "LICENSE.md").write_text(licence, encoding="utf-8")
    state = {"ledger": checkpoint.state()["ledger"], "ema_updates": 0}
    kept = {key: checkpoint.manifest[key] for key in ("cdkit", "spec", "python", "torch", "parts") if key in checkpoint.manifest}
    write_checkpoint(out / "checkpoints", checkpoint.step, weights, state, kept)
    return out


def halved(checkpoint: Checkpoint) -> dict[str, dict[str, Tensor]]:
    """The weights of a checkpoint, averaged where there is an average, floating point as float16."""
    average = checkpoint.tensors("ema") if "ema" in checkpoint.names else {}
    return {
        name: {key: _half(average.get(place_of(name, key), value)) for key, value in checkpoint.tensors(name).items()}
        for name in files_of(checkpoint)
    }


def _half(value: Tensor) -> Tensor:
    if not value.is_floating_point():
        return value
    half = value.to(torch.float16)
    if not bool(half.isfinite().all()):
        raise NumericsError("a weight is too large for float16; this run cannot be packed")
    return half
