"""Several processes that train one run: the same losses as one, one writer, one decision."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from cdkit.build import assemble
from cdkit.conditions import Count
from cdkit.engine.batches import Batches
from cdkit.engine.blocks import blocks_of
from cdkit.engine.evaluate import make_dataset
from cdkit.engine.launch import Launch, first_host, planned
from cdkit.engine.load import load
from cdkit.engine.ranks import ALONE, Ranks, joined
from cdkit.engine.run import Run
from cdkit.engine.strategy import Alone, Ddp, Late, strategy_of
from cdkit.engine.train import train
from cdkit.errors import DataError, UsageError
from cdkit.parts import Dataset, Example
from cdkit.spec import Spec, TrainSection
from processes import apart, begun, digests, ended, losses, quiet, together, wait_for
from torch.distributed import TCPStore

Tiny = Callable[..., Spec]


@pytest.mark.parametrize(("device", "asked", "taken"), [("cpu", "auto", Ddp), ("cuda", "auto", Late), ("cuda", "ddp", Ddp)])
def test_who_asks_for_no_strategy_gets_what_suits_the_device(device: str, asked: Any, taken: type[Alone]) -> None:
    options = TrainSection(strategy=asked)
    assert strategy_of(options, Ranks(0, 2, torch.device(device))) is taken
    assert strategy_of(options, Ranks(0, 1, torch.device(device))) is Alone


@pytest.mark.timeout(120)
def test_processes_that_are_started_again_meet_each_other_and_none_of_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """torchrun lends them the store in which those before have left their addresses."""
    lent = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    monkeypatch.setenv("TORCHELASTIC_USE_AGENT_STORE", "True")
    for start in range(4):
        monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", str(start))
        together(2, lambda ranks: sys.exit(ranks.total([1]) != [2]), lent.port)


@pytest.mark.parametrize("strategy", ["ddp", "late"])
def test_two_processes_learn_what_one_learns(tmp_path: Path, tiny: Tiny, strategy: str) -> None:
    spec = tiny("train.steps=12", f"train.strategy={strategy}", "train.accumulate=2", "conditions.text.dropout=0.5")
    train(spec, tmp_path / "one", say=quiet)
    together(2, lambda ranks: train(spec, tmp_path / "two", say=quiet, ranks=ranks))
    assert apart(losses(tmp_path / "one"), losses(tmp_path / "two")) < 1e-6
    one, two = (load(tmp_path / name) for name in ("one", "two"))
    assert one.ledger.counts == two.ledger.counts
    assert isinstance(one.ledger.counts["text"], Count)
    for mine, theirs in zip(one.parameters(), two.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=2e-5)


def test_a_batch_that_cannot_be_shared_is_refused_with_those_that_can() -> None:
    with pytest.raises(UsageError, match=r"train.batch is 4, which 3 processes cannot share evenly") as caught:
        Ranks(1, 3).share(4)
    assert caught.value.hint == "--set train.batch=3 or --set train.batch=6"
    assert [list(Ranks(rank, 2).share(4)) for rank in (0, 1)] == [[0, 1], [2, 3]]


def test_more_or_fewer_processes_than_were_meant_are_an_error(capfd: pytest.CaptureFixture[str]) -> None:
    os.environ["CDKIT_PROCESSES"] = "3"
    try:
        assert ended(begun(2, print)) == [7, 7]
    finally:
        del os.environ["CDKIT_PROCESSES"]
    assert "3 processes were to train; WORLD_SIZE is 2, 2 are in their group, 2 answered" in capfd.readouterr().err


def test_a_signal_to_one_process_stops_all_of_them_saved(tmp_path: Path, tiny: Tiny, capfd: pytest.CaptureFixture[str]) -> None:
    spec = tiny("train.steps=10000", "train.checkpoint_every=100000")
    children = begun(2, lambda ranks: train(spec, tmp_path / "run", say=quiet, ranks=ranks))
    wait_for(tmp_path / "run" / "metrics.jsonl")
    os.kill(children[1], signal.SIGTERM)
    assert ended(children) == [143, 143]
    checkpoint = Run(tmp_path / "run").latest()
    assert checkpoint is not None
    assert checkpoint.step == len(losses(tmp_path / "run"))
    assert capfd.readouterr().err.count("stopped by SIGTERM") == 1, "one says so, for all"


class Broken(Dataset):
    """The digits, one of which cannot be read."""

    def __init__(self, real: Dataset, bad: str) -> None:
        self.real, self.bad = real, bad
        self.columns, self.shape = real.columns, real.shape

    def split(self, name: Any) -> Any:
        return self.real.split(name)

    def fingerprint(self) -> str:
        return self.real.fingerprint()

    def augment(self, example: Example, generator: torch.Generator) -> Example:
        del generator
        if example.id == self.bad:
            raise DataError("this picture is torn")
        return example


def test_a_picture_that_one_process_cannot_read_stops_all_with_what_they_had_learned(
    tmp_path: Path, tiny: Tiny, capfd: pytest.CaptureFixture[str]
) -> None:
    spec = tiny("train.steps=6", "train.checkpoint_every=100")
    real = make_dataset(spec)
    bad = Batches(real, (), batch=4, seed=0)[3].ids[3]  # of the second process, in the fourth step
    registry = spec.registry.extended({("dataset", "broken"): lambda: Broken(real, bad)})
    assert spec.data is not None
    broken = replace(spec, data=replace(spec.data, use="broken", options={}, registry=registry), registry=registry)
    children = begun(2, lambda ranks: train(broken, tmp_path / "run", say=quiet, ranks=ranks))
    assert ended(children) == [5, 5]
    checkpoint = Run(tmp_path / "run").latest()
    assert checkpoint is not None
    assert checkpoint.step == 3
    assert capfd.readouterr().err.count("this picture is torn") == 1


def test_alone_nothing_is_asked() -> None:
    with joined(None, {"WORLD_SIZE": "1", "RANK": "0"}) as ranks:
        assert ranks == ALONE
    assert ranks.told("x") == "x"
    assert ranks.gathered(3) == [3]
    assert ranks.greatest(1, 2) == (1, 2)
    assert ranks.total([4]) == [4]


def test_machines_of_slurm_find_each_other() -> None:
    slurm = {"SLURM_JOB_ID": "77", "SLURM_NNODES": "4", "SLURM_NODEID": "2", "SLURM_JOB_NODELIST": "gpu[003-005,9],cpu1"}
    plan = planned(8, None, None, None, 3, slurm)
    assert plan == Launch(8, 4, 2, "gpu003:29500", 3, "77")
    assert plan.world == 32
    assert first_host("one,two") == "one"
    assert planned(None, None, None, None, 0, slurm) is None, "who starts processes without --procs does it some other way"
    assert planned(8, None, None, None, 0, {**slurm, "RANK": "1"}) is None, "a process that was started starts none"
    with pytest.raises(UsageError, match="need a place to meet"):
        planned(8, 2, 0, None, 0, {})
    with pytest.raises(UsageError, match="numbered 0 to 1"):
        planned(8, 2, 2, "a:1", 0, {})


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "late", "fsdp2"])
def test_two_processes_resume_bit_equal_at_every_step(tmp_path: Path, tiny: Tiny, strategy: str) -> None:
    """The cells of exact resume with two processes."""
    spec = tiny("train.steps=6", f"train.strategy={strategy}", "conditions.text.dropout=0.5")

    def one_by_one(ranks: Ranks) -> None:
        for _ in range(6):
            train(spec, tmp_path / "steps", minutes=1e-9, say=quiet, ranks=ranks)

    together(2, lambda ranks: train(spec, tmp_path / "whole", say=quiet, ranks=ranks))
    together(2, one_by_one)
    assert Run(tmp_path / "steps").latest().step == 6  # pyright: ignore[reportOptionalMemberAccess]
    assert digests(tmp_path / "steps") == digests(tmp_path / "whole")
    assert losses(tmp_path / "steps") == losses(tmp_path / "whole")


def test_what_is_not_kept_is_made_again_to_the_bit(tmp_path: Path, tiny: Tiny) -> None:
    spec = tiny("train.steps=4", "train.checkpoint_every=100")
    train(spec, tmp_path / "kept", say=quiet)
    train(replace(spec, train=replace(spec.train, recompute=True)), tmp_path / "again", say=quiet)
    assert digests(tmp_path / "again") == digests(tmp_path / "kept")


def test_the_blocks_of_a_unet_are_its_innermost_lists_without_what_is_mounted(tiny: Tiny) -> None:
    model = assemble(tiny())
    blocks, slots = blocks_of(model.backbone)
    names = {type(block).__name__ for block in blocks}
    assert {"ResnetBlock", "TransformerBlock"} <= names
    assert "Slot" not in names
    mounted = {id(parameter) for slot in slots for parameter in slot.parameters()}
    own = [parameter for block in blocks for parameter in block.parameters() if id(parameter) not in mounted]
    everything = [parameter for parameter in model.backbone.parameters() if id(parameter) not in mounted]
    assert sum(p.numel() for p in own) > 0.7 * sum(p.numel() for p in everything)
