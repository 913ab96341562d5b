"""Exact resume: at every step, after chains of kills, with any number of workers, everything ends bit-equal."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from cdkit.engine.checkpoint import verified
from cdkit.engine.run import Run
from cdkit.engine.stop import Stop, Stopped
from cdkit.engine.train import train
from cdkit.engine.trainer import Trainer
from cdkit.parts import Stream
from cdkit.spec import Spec
from processes import forked
from torch import nn

Tiny = Callable[..., Spec]
CPU = torch.device("cpu")


def quiet(line: str) -> None:
    del line


def held(run: Path, step: int) -> dict[str, str]:
    """Digests of all that a run holds at a step: weights, averages, optimizer, ledger, and what was logged until then.

    There is no random state: what is drawn is a function of (seed, step).
    """
    files = verified(run / "checkpoints" / f"step-{step:06d}").manifest["files"]
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    told = [(line["step"], line["loss"], line["lr"], line["grad_norm"]) for line in lines if line["step"] <= step]
    assert len(told) == step
    return {name: described["sha256"] for name, described in files.items()} | {
        "metrics": hashlib.sha256(repr(told).encode()).hexdigest()
    }


SIXTY = ("train.steps=60", "train.keep=60", "train.decay=constant")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, tiny: Tiny) -> Path:
    """Sixty steps that nothing interrupted, every one kept."""
    return train(tiny(*SIXTY), tmp_path_factory.mktemp("whole") / "run", say=quiet).path


def one_step(spec: Spec, run: Path) -> None:
    """A process that resumes, makes a step, is told to stop, and saves."""
    trainer = Trainer(spec, Run(run) if run.exists() else Run.create(run, spec), CPU, quiet)
    trainer.begin(None)
    stop = Stop()
    stop.asked = signal.SIGTERM
    with suppress(Stopped):
        trainer.go(stop, None)


@pytest.mark.slow
def test_resumed_after_every_one_of_sixty_steps_it_is_bit_equal(tmp_path: Path, whole: Path, tiny: Tiny) -> None:
    """59 of 59: each link of the chain goes on from a checkpoint, and what it leaves is what the whole run had there."""
    spec = tiny(*SIXTY)
    for step in range(1, 61):
        one_step(spec, tmp_path / "run")
        assert held(tmp_path / "run", step) == held(whole, step), f"after a resume at step {step - 1}"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:This DataLoader will create 4 worker processes")  # more than there are cores
@pytest.mark.parametrize("workers", [0, 1, 4])
def test_workers_and_a_resume_change_nothing(workers: int, tmp_path: Path, whole: Path, tiny: Tiny) -> None:
    spec = tiny(*SIXTY, f"train.workers={workers}")
    one_step(spec, tmp_path / "run")
    train(spec, tmp_path / "run", minutes=1e-9, say=quiet)
    assert Run(tmp_path / "run").latest().step == 2  # pyright: ignore[reportOptionalMemberAccess]
    short = replace(spec, train=replace(spec.train, steps=20))
    train(short, tmp_path / "run", override=True, say=quiet)
    assert held(tmp_path / "run", 20) == held(whole, 20)


# ----------------------------------------------------------------------------------------- kill -9


def killed(spec: Spec, run: Path, after: float, *, beginning: bool) -> bool:
    """Train in a process of its own that is killed after so many seconds; whether it was still at work.

    The clock runs from the fork if it is to be killed as it begins, else from its first step, however slow the machine is.
    """
    reader, writer = os.pipe()

    def work() -> int:
        train(spec, run, say=lambda line: os.close(writer) if line.endswith(("on cpu", "200")) else None)
        return 0

    child = forked(work, said := run.with_name(f"{run.name}.txt"))
    os.close(writer)
    if not beginning:
        os.read(reader, 1)  # nothing, once the child has closed the other end or is gone
    os.close(reader)
    time.sleep(after)
    os.kill(child, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, -signal.SIGKILL), said.read_text()
    return code == -signal.SIGKILL


def newest(run: Path) -> int:
    checkpoint = Run(run).latest() if (run / "checkpoints").is_dir() else None
    return 0 if checkpoint is None else checkpoint.step


def chain(spec: Spec, run: Path, kills: int, draws: random.Random) -> int:
    """Kill a training at random moments until it is done, or so often; after each, nothing committed may be lost.

    One of ten is killed as it begins, the others while they train and save at every step.
    """
    done = reached = 0
    while done < kills and killed(spec, run, draws.uniform(0.0, 0.5), beginning=draws.random() < 0.1):
        done += 1
        assert newest(run) >= reached, f"after kill {done}"
        reached = newest(run)
    return done


def random_kills(folder: Path, tiny: Tiny, whole: dict[str, str], kills: int) -> None:
    draws = random.Random(0)
    spec = tiny("train.steps=200", "train.keep=2", "train.log_every=200")
    number = 0
    while kills > 0:
        number += 1
        kills -= chain(spec, folder / str(number), kills, draws)
        train(spec, folder / str(number), say=quiet)
        assert files(folder / str(number)) == whole, f"chain {number}"


def files(run: Path) -> dict[str, str]:
    checkpoint = Run(run).latest()
    assert checkpoint is not None
    return {name: described["sha256"] for name, described in checkpoint.manifest["files"].items()}


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory, tiny: Tiny) -> dict[str, str]:
    """What two hundred uninterrupted steps end in."""
    spec = tiny("train.steps=200", "train.checkpoint_every=200", "train.log_every=200")
    return files(train(spec, tmp_path_factory.mktemp("long") / "run", say=quiet).path)


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_a_hundred_kills_at_random_lose_nothing(tmp_path: Path, tiny: Tiny, long: dict[str, str]) -> None:
    random_kills(tmp_path, tiny, long, 100)


@pytest.mark.slow
@pytest.mark.forks
@pytest.mark.timeout(7200)
def test_a_thousand_kills_at_random_lose_nothing(tmp_path: Path, tiny: Tiny, long: dict[str, str]) -> None:
    random_kills(tmp_path, tiny, long, 1000)


# ----------------------------------------------------------------------------------------- what others draw


def careless(spec: Spec) -> Spec:
    """The same spec with an encoder that drops out by torch's own random state, as many published ones do."""
    condition = spec.conditions["text"]
    real: Any = condition.part.factory()

    class Careless(real):
        def forward(self, raw: Any) -> Stream:
            stream: Stream = super().forward(raw)
            assert stream.tokens is not None
            return replace(stream, tokens=nn.functional.dropout(stream.tokens, 0.3, training=self.training))

    registry = spec.registry.extended({("encoder", "careless"): Careless})
    part = replace(condition.part, use="careless", registry=registry)
    return replace(spec, conditions={"text": replace(condition, part=part)}, registry=registry)


def test_a_part_that_draws_from_torchs_own_state_resumes_bit_equal(tmp_path: Path, tiny: Tiny) -> None:
    spec = careless(tiny("train.steps=6"))
    torch.manual_seed(1)
    before = torch.get_rng_state()
    train(spec, tmp_path / "whole", say=quiet)
    assert torch.equal(torch.get_rng_state(), before), "who trains in a notebook keeps their own draws"
    for seed in range(6):
        torch.manual_seed(seed)
        one_step(spec, tmp_path / "run")
        assert held(tmp_path / "run", seed + 1) == held(tmp_path / "whole", seed + 1)
