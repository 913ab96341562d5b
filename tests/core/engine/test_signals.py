"""Signals at every point of a training: the step is finished, all is saved, the exit code says which, and nothing differs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from cdkit.cli.failures import handled
from cdkit.engine import checkpoint as saving
from cdkit.engine import strategy
from cdkit.engine import trainer as training
from cdkit.engine.ema import Ema
from cdkit.engine.journal import Journal
from cdkit.engine.reading import Reading
from cdkit.engine.run import Run
from cdkit.engine.train import train
from cdkit.engine.trainer import Trainer
from cdkit.model import Model
from cdkit.spec import Spec
from processes import ended, forked

pytestmark = [pytest.mark.slow, pytest.mark.forks]

Tiny = Callable[..., Spec]
NUMBERS = {signal.SIGINT: 130, signal.SIGTERM: 143}

POINTS: dict[str, tuple[Any, str, int]] = {
    "the model is made": (training, "assemble", 1),
    "a vocabulary is learned": (Trainer, "_fit_encoders", 1),
    "leftovers are cleared": (training, "clear_unfinished", 1),
    "a run begins": (Trainer, "begin", 1),
    "the journal is opened": (Journal, "__init__", 1),
    "a batch is read": (Reading, "__next__", 3),
    "the network is called": (Model, "forward", 3),
    "gradients are made": (Trainer, "_backward", 3),
    "gradients are clipped": (torch.nn.utils, "clip_grad_norm_", 3),
    "weights are updated": (torch.optim.AdamW, "step", 3),
    "the average is updated": (Ema, "update", 3),
    "a line is logged": (Journal, "write", 3),
    "a checkpoint is begun": (strategy, "write_checkpoint", 3),
    "a file is written": (saving, "synced", 8),
    "a folder is synced": (saving, "fsync_folder", 5),
    "a checkpoint is renamed": (saving.os, "replace", 6),
    "old ones are deleted": (training, "prune", 3),
    "a grid is drawn": (Trainer, "draw", 2),
    "it ends": (Journal, "close", 1),
}  # what is about to be done for the n-th time


def quiet(line: str) -> None:
    del line


def files(run: Path) -> dict[str, str]:
    checkpoint = Run(run).latest()
    assert checkpoint is not None
    return {name: described["sha256"] for name, described in checkpoint.manifest["files"].items()}


@pytest.fixture(scope="module")
def drawing(tiny: Tiny) -> Spec:
    """Eight steps, of which every third draws a grid."""
    return tiny("train.sample_every=3", "train.prompts=[three]", "train.keep=2")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, drawing: Spec) -> dict[str, str]:
    return files(train(drawing, tmp_path_factory.mktemp("whole") / "run", say=quiet).path)


def signalled(spec: Spec, run: Path, point: str, *numbers: int) -> int:
    """Train in a process of its own that is sent the signals at a point; its exit code, negative if a signal killed it."""
    owner, name, nth = POINTS[point]

    def work() -> int:
        real, calls = getattr(owner, name), 0

        def sent(*args: Any, **keywords: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == nth:
                for number in numbers:
                    os.kill(os.getpid(), number)
            return real(*args, **keywords)

        setattr(owner, name, sent)
        return handled(lambda: train(spec, run, say=quiet), debug=False)

    return ended([forked(work, run.with_name(f"{run.name}.txt"))])[0]


@pytest.mark.parametrize("number", NUMBERS, ids=lambda number: signal.Signals(number).name)
@pytest.mark.parametrize("point", POINTS)
def test_one_signal_stops_saved(point: str, number: int, tmp_path: Path, drawing: Spec, whole: dict[str, str]) -> None:
    code = signalled(drawing, tmp_path / "run", point, number)
    assert code == (0 if point == "it ends" else NUMBERS[number])
    stopped = Run(tmp_path / "run").latest()
    assert stopped is not None
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert stopped.step == len(lines), "what was trained is what was saved"
    train(drawing, tmp_path / "run", say=quiet)
    assert files(tmp_path / "run") == whole


@pytest.mark.parametrize("point", ["weights are updated", "a file is written", "a checkpoint is renamed", "old ones are deleted"])
def test_two_signals_stop_at_once_and_nothing_is_lost(point: str, tmp_path: Path, drawing: Spec, whole: dict[str, str]) -> None:
    code = signalled(drawing, tmp_path / "run", point, signal.SIGTERM, signal.SIGTERM)
    assert code == -signal.SIGTERM
    stopped = Run(tmp_path / "run").latest()
    assert stopped is not None
    assert stopped.step in (1, 2, 3)
    train(drawing, tmp_path / "run", say=quiet)
    assert files(tmp_path / "run") == whole


@pytest.mark.parametrize("number", NUMBERS, ids=lambda number: signal.Signals(number).name)
def test_a_signal_to_the_whole_group_is_no_fault_of_a_worker(number: int, tmp_path: Path, tiny: Tiny) -> None:
    """Ctrl-C reaches the workers too, and a scheduler's SIGTERM does."""
    path, out = tmp_path / "spec.yaml", tmp_path / "run"
    path.write_text(tiny("train.steps=100000", "train.checkpoint_every=100000", "train.workers=2").to_yaml())
    command = [sys.executable, "-c", "from cdkit.cli.app import main; main()", "train", str(path), "--out", str(out)]
    child = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True)
    metrics, deadline = out / "metrics.jsonl", time.monotonic() + 90
    while not (metrics.is_file() and metrics.read_text().count("\n") > 2):
        assert time.monotonic() < deadline, "the child never trained a step"
        time.sleep(0.1)
    os.killpg(child.pid, number)
    _, said = child.communicate(timeout=60)
    assert child.returncode == NUMBERS[number], said.decode()
    assert b"error" not in said
    assert Run(out).latest().step == metrics.read_text().count("\n")  # pyright: ignore[reportOptionalMemberAccess]
