"""Weights that are divided among processes: they learn what whole ones learn, and are saved in parts that make one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from cdkit.engine.load import load
from cdkit.engine.run import Run
from cdkit.engine.shards import consolidate
from cdkit.engine.train import train
from cdkit.errors import CheckpointError
from cdkit.spec import Spec
from processes import apart, digests, losses, quiet, together

Tiny = Callable[..., Spec]


def divided(spec: Spec) -> Spec:
    return replace(spec, train=replace(spec.train, strategy="fsdp2"))


def alike(one: Path, other: Path, tolerance: float) -> None:
    """Weights, averages, ledgers and logged losses of two runs."""
    assert apart(losses(one), losses(other)) < 1e-6
    for averaged in (False, True):
        mine, theirs = (load(run, averaged=averaged) for run in (one, other))
        assert mine.ledger.counts == theirs.ledger.counts
        for (name, here), there in zip(mine.named_parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(here, there, rtol=0, atol=tolerance, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.slow
def test_divided_weights_learn_what_whole_ones_learn(tmp_path: Path, tiny: Tiny) -> None:
    spec = tiny("train.steps=10", "train.accumulate=2", "conditions.text.dropout=0.5", "train.checkpoint_every=5")
    train(spec, tmp_path / "one", say=quiet)
    together(2, lambda ranks: train(divided(spec), tmp_path / "two", say=quiet, ranks=ranks))
    alike(tmp_path / "one", tmp_path / "two", 2e-5)
    checkpoint = Run(tmp_path / "two").latest()
    assert checkpoint is not None
    assert checkpoint.manifest["schema"] == 3
    assert [path.name[:11] for path in checkpoint.shards] == ["shard-00001", "shard-00002"]
    sizes = [path.stat().st_size for path in checkpoint.shards]
    assert max(sizes) < 1.6 * min(sizes), "each process writes its part"


@pytest.mark.slow
def test_a_run_goes_on_in_any_number_of_processes_and_in_one_file(tmp_path: Path, tiny: Tiny) -> None:
    """Two processes with divided weights, then one, then two with whole ones, then two with divided ones: the run of one."""
    more = ("train.ema_lengths=[0.1]", "train.ema_snapshots=2", "train.decay=constant")
    spec = tiny("train.steps=8", "train.checkpoint_every=2", *more)
    train(spec, tmp_path / "one", say=quiet)

    def until(steps: int, spec: Spec, world: int) -> None:
        short = replace(spec, train=replace(spec.train, steps=steps))
        if world == 1:
            train(short, tmp_path / "run", override=True, say=quiet)
        else:
            together(world, lambda ranks: train(short, tmp_path / "run", override=True, say=quiet, ranks=ranks))

    until(2, divided(spec), 2)
    before = digests(tmp_path / "run")
    assert consolidate(Run(tmp_path / "run")) is not None
    checkpoint = Run(tmp_path / "run").latest()
    assert checkpoint is not None
    assert not checkpoint.is_sharded
    assert (checkpoint.folder / "backbone.safetensors").is_file()
    assert digests(tmp_path / "run") == before
    assert consolidate(Run(tmp_path / "run")) is None
    until(4, spec, 1)
    until(6, spec, 2)
    until(8, divided(spec), 2)
    alike(tmp_path / "one", tmp_path / "run", 2e-5)


def test_a_shard_that_is_missing_damaged_or_of_another_save_is_told(tmp_path: Path, tiny: Tiny) -> None:
    spec = divided(tiny("train.steps=2", "train.checkpoint_every=100"))
    together(2, lambda ranks: train(spec, tmp_path / "run", say=quiet, ranks=ranks))
    checkpoint = Run(tmp_path / "run").latest()
    assert checkpoint is not None
    shard = checkpoint.shards[1]
    content = shard.read_bytes()
    shard.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(CheckpointError, match="its sha256 is not the manifest's"):
        Run(tmp_path / "run").latest()
    shard.write_bytes(content)
    one = replace(checkpoint, manifest={**checkpoint.manifest, "files": {checkpoint.shards[0].name: {}}})
    with pytest.raises(CheckpointError, match="parts do not make a tensor"):
        replace(one, manifest={**one.manifest, "files": {shard.name: {}}}).tensors("backbone")
