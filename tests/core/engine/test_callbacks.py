"""Callbacks hear all that a training says of itself, change nothing of it, and cannot end it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from cdkit.engine.checkpoint import verified
from cdkit.engine.run import Run
from cdkit.engine.train import train
from cdkit.parts import Callback
from cdkit.registry import Registry
from cdkit.spec import Spec, SpecErrors, read_spec

from .conftest import DIGITS, TINY

HEARD: list[tuple[Any, ...]] = []


@dataclass(frozen=True, kw_only=True)
class Listener(Callback):
    """Notes all that it is told; fails at one event where it is asked to."""

    fails: str = ""
    seen: list[str] = field(default_factory=list[str], init=False, compare=False)

    def _note(self, event: str, *said: Any) -> None:
        HEARD.append((event, *said))
        if event == self.fails:
            raise ConnectionError("nobody answers")

    def began(self, run: Path, step: int, steps: int) -> None:
        self._note("began", run, step, steps)

    def logged(self, step: int, values: Mapping[str, float]) -> None:
        self._note("logged", step, dict(values))

    def saved(self, step: int, checkpoint: Path) -> None:
        verified(checkpoint)
        self._note("saved", step, checkpoint)

    def drawn(self, step: int, picture: Path) -> None:
        self._note("drawn", step, picture.read_bytes()[:4])

    def ended(self, step: int) -> None:
        self._note("ended", step)


def spec_with(written: str, *overrides: str) -> Spec:
    registry = Registry.installed().extended({("callback", "listener"): Listener})
    settings = ("train.steps=4", "train.checkpoint_every=2", *overrides)
    return read_spec(DIGITS, overrides=(*TINY, *settings, *([f"callbacks={written}"] if written else [])), registry=registry)


@pytest.fixture(autouse=True)
def _nobody_heard() -> None:
    HEARD.clear()


def test_it_hears_everything_in_order(tmp_path: Path) -> None:
    run = train(spec_with("[{use: listener}]", "train.sample_every=4"), tmp_path / "run", device="cpu", say=lambda _: None)
    journal = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    logged = [("logged", line.pop("step"), line) for line in journal]
    checkpoints = [run.checkpoints / f"step-{step:06d}" for step in (2, 4)]
    assert [
        ("began", run.path, 0, 4),
        *logged[:2],
        ("saved", 2, checkpoints[0]),
        *logged[2:],
        ("saved", 4, checkpoints[1]),
        ("drawn", 4, b"\x89PNG"),
        ("ended", 4),
    ] == HEARD


def test_a_resumed_training_says_where_it_goes_on(tmp_path: Path) -> None:
    train(spec_with("[{use: listener}]", "train.steps=2"), tmp_path / "run", device="cpu", say=lambda _: None)
    HEARD.clear()
    train(spec_with("[{use: listener}]"), tmp_path / "run", device="cpu", override=True, say=lambda _: None)
    assert HEARD[0] == ("began", tmp_path / "run", 2, 4)


@pytest.mark.parametrize("event", ["began", "logged", "saved", "ended"])
def test_one_that_fails_is_set_aside_and_the_training_is_the_same(event: str, tmp_path: Path) -> None:
    said: list[str] = []
    alone = train(spec_with(""), tmp_path / "alone", device="cpu", say=lambda _: None)
    heard = train(spec_with(f"[{{use: listener, fails: {event}}}]"), tmp_path / "heard", device="cpu", say=said.append)
    told = [line for line in said if "set aside" in line]
    assert len(told) == 1
    assert f"callback listener (in-memory) failed at `{event}`: ConnectionError: nobody answers; set aside" in told[0]
    assert [name for name, *_ in HEARD].count(event) == 1
    assert HEARD[-1][0] == event
    assert weights(heard) == weights(alone)


def weights(run: Run) -> dict[str, bytes]:
    checkpoint = run.latest()
    assert checkpoint is not None
    tensors = checkpoint.tensors("backbone")
    return {name: tensor.contiguous().view(torch.uint8).numpy().tobytes() for name, tensor in tensors.items()}


def test_it_is_part_of_the_filled_spec_and_of_no_digest() -> None:
    with_one, without = spec_with("[{use: listener}]"), spec_with("")
    assert with_one.filled()["callbacks"] == [{"use": "listener", "fails": ""}]
    assert with_one.digest() == without.digest()
    assert with_one.provenance["callback.listener"] == "in-memory"


def test_an_unknown_one_is_refused_beside_those_that_there_are() -> None:
    with pytest.raises(SpecErrors, match=r"there is no callback 'traker'; did you mean 'tracker' \(cdkit=="):
        spec_with("[{use: traker, to: tensorboard}]")


def test_a_run_that_is_older_than_a_key_goes_on(tmp_path: Path) -> None:
    spec = spec_with("")
    run = train(spec_with("", "train.steps=2"), tmp_path / "run", device="cpu", say=lambda _: None)
    file = run.path / "spec.yaml"
    older = file.read_text(encoding="utf-8").replace("callbacks: []\n", "").replace("steps: 2,", "steps: 4,")
    assert older != file.read_text(encoding="utf-8")
    file.write_text(older.replace("  steps: 2\n", "  steps: 4\n"), encoding="utf-8")
    latest = train(spec, run.path, device="cpu", say=lambda _: None).latest()
    assert latest is not None
    assert latest.step == 4
