"""Several processes that train one run: the same losses as one, one writer, one decision."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from cdkit.cli.failures import handled
from cdkit.conditions import Count
from cdkit.engine.batches import Batches
from cdkit.engine.evaluate import make_dataset
from cdkit.engine.launch import Launch, first_host, planned
from cdkit.engine.load import load
from cdkit.engine.ranks import ALONE, Ranks, joined
from cdkit.engine.run import Run
from cdkit.engine.train import train
from cdkit.errors import DataError, UsageError
from cdkit.parts import Dataset, Example
from cdkit.spec import Spec

Tiny = Callable[..., Spec]


def quiet(line: str) -> None:
    del line


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def begun(world: int, work: Callable[[Ranks], object]) -> list[int]:
    """Processes that join and work, as torchrun would start them; their ids."""
    port = free_port()
    children: list[int] = []
    for rank in range(world):
        child = os.fork()
        if child == 0:
            told = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world, "LOCAL_WORLD_SIZE": world, "MASTER_PORT": port}
            os.environ.update({name: str(value) for name, value in told.items()}, MASTER_ADDR="127.0.0.1")

            def joining() -> None:
                with joined("cpu") as ranks:
                    work(ranks)

            try:
                os._exit(handled(joining, debug=False))
            except BaseException:
                traceback.print_exc()
                os._exit(70)
        children.append(child)
    return children


def ended(children: list[int]) -> list[int]:
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]


def together(world: int, work: Callable[[Ranks], object]) -> None:
    assert ended(begun(world, work)) == [0] * world


def losses(run: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (run / "metrics.jsonl").read_text().splitlines()]


def apart(one: list[float], other: list[float]) -> float:
    assert len(one) == len(other) > 0
    return max(abs(a - b) for a, b in zip(one, other, strict=True))


def test_two_processes_learn_what_one_learns(tmp_path: Path, tiny: Tiny) -> None:
    spec = tiny("train.steps=12", "train.accumulate=2", "conditions.text.dropout=0.5")
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


def wait_for(file: Path, seconds: float = 60) -> None:
    """Until something has been written there."""
    end = time.monotonic() + seconds
    while not (file.is_file() and file.stat().st_size) and time.monotonic() < end:
        time.sleep(0.05)


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
