"""Shards: a checkpoint whose tensors lie in one file a process, written by all of them at once through torch's DCP.

DCP's own format keeps pickles; its writer for safetensors does not. In each file stands, beside the tensors, at which row and
column of the whole each of them begins (`DCP_SHARDING_INFO`). Folder, manifest and commit are those of any checkpoint.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from cdkit.engine.checkpoint import SHARDED, STATE, Checkpoint, begin, commit, described, in_json, synced, tidy, write_checkpoint
from cdkit.engine.ranks import Ranks
from cdkit.engine.run import Run


def write_sharded(
    folder: Path,
    step: int,
    tensors: Mapping[str, Mapping[str, Tensor]],
    state: Mapping[str, Any],
    facts: Mapping[str, Any],
    ranks: Ranks,
) -> Path:
    """Commit one checkpoint as folder/step-NNNNNN; every process calls this with its parts of the same tensors.

    Raises, in all of them and with nothing changed, what any of them could not do.
    """
    temporary = ranks.led(lambda: begin(folder, step))
    try:
        parts = ranks.gathered(ranks.each(lambda: _saved(temporary, tensors, ranks)))

        def committed() -> Path:
            synced(temporary / STATE, in_json(state))
            files = {name: what for part in parts for name, what in part.items()} | {STATE: described(temporary / STATE)}
            names = {"tensors": sorted(tensors), "processes": ranks.world}
            return commit(folder, temporary, {"schema": SHARDED, "step": step, **facts, **names, "files": files})

        target = ranks.led(committed)
    except BaseException:
        if ranks.leads:
            shutil.rmtree(temporary, ignore_errors=True)
        raise
    ranks.led(lambda: tidy(folder))
    return target


def _saved(folder: Path, tensors: Mapping[str, Mapping[str, Tensor]], ranks: Ranks) -> dict[str, Any]:
    """This process's file, by name, with its size and digest."""
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter
    from torch.distributed.checkpoint.state_dict_saver import save

    flat: dict[str, Any] = {f"{name}|{key}": value for name, values in tensors.items() for key, value in values.items()}
    writer = HuggingFaceStorageWriter(path=str(folder), save_distributed=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own parts, that they are deprecated
        save(flat, storage_writer=writer)
    mine = sorted(folder.glob(f"shard-{ranks.rank + 1:05d}-*.safetensors"))
    for path in mine:
        path.chmod(0o600)
    return {path.name: described(path) for path in mine}


def consolidate(run: Run) -> Checkpoint | None:
    """The latest checkpoint of a run as one file for each of its parts, in place of its shards; None where it has no shards."""
    with run.lock():
        checkpoint = run.latest()
        if checkpoint is None or not checkpoint.is_sharded:
            return None
        facts = {key: value for key, value in checkpoint.manifest.items() if key not in OWN}
        tensors = {name: checkpoint.tensors(name) for name in checkpoint.names}
        write_checkpoint(run.checkpoints, checkpoint.step, tensors, checkpoint.state(), facts)
        return run.latest()


OWN = ("schema", "step", "files", "sha256", "tensors", "processes")  # what every writer says anew
