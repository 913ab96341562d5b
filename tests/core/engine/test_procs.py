"""Several processes by the command line: the same run as one, whatever becomes of one of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cdkit.engine.run import Run
from PIL import Image
from processes import apart, digests, losses, wait_for

DIGITS = Path(__file__).parents[3] / "specs" / "digits.yaml"


def cdkit(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cdkit", *words],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
    )


def overrides(*more: str) -> list[str]:
    """As the `tiny` spec has them."""
    small = (
        "backbone.width=8",
        "backbone.heads=1",
        "conditions.text.dim=8",
        "train.batch=4",
        "train.steps=8",
        "train.log_every=1",
    )
    return [word for override in (*small, "train.sample_every=0", "sampler.steps=3", *more) for word in ("--set", override)]


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "late", "fsdp2"])
def test_fifty_steps_by_the_command_line_agree(tmp_path: Path, strategy: str) -> None:
    words = [
        "train",
        str(DIGITS),
        "--device",
        "cpu",
        *overrides("train.steps=50", "train.batch=16", "train.checkpoint_every=100"),
    ]
    for name, more in {"one": (), "two": ("--procs", "2", "--strategy", strategy)}.items():
        done = cdkit(*words, "--out", str(tmp_path / name), *more)
        assert done.returncode == 0, done.stderr
    assert len(losses(tmp_path / "one")) == 50
    assert apart(losses(tmp_path / "one"), losses(tmp_path / "two")) < 1e-6


class Killed:
    """A training in two processes, of which one is killed when so many steps are logged."""

    def __init__(self, run: Path, steps: int, *more: str) -> None:
        words = ["train", str(DIGITS), "--device", "cpu", "--procs", "2", "--out", str(run), *more]
        words += overrides(f"train.steps={steps}", "train.checkpoint_every=5", "train.keep=50")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "cdkit", *words], stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
        )
        self.run = run

    def kill_one(self, after: int) -> None:
        end = time.monotonic() + 240
        while time.monotonic() < end:
            metrics = self.run / "metrics.jsonl"
            if metrics.is_file() and len(metrics.read_text().splitlines()) >= after:
                break
            time.sleep(0.05)
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        os.kill(int(children[-1]), signal.SIGKILL)

    def end(self) -> tuple[int, str]:
        said = self.process.communicate(timeout=300)[1]
        return self.process.returncode, said


@pytest.mark.slow
def test_a_killed_process_is_started_again_and_the_run_is_the_one_resumed_by_hand(tmp_path: Path) -> None:
    elastic = Killed(tmp_path / "elastic", 60, "--max-restarts", "2")
    elastic.kill_one(12)
    assert elastic.end()[0] == 0
    by_hand = Killed(tmp_path / "hand", 60)
    by_hand.kill_one(12)
    code, said = by_hand.end()
    assert code == 7
    assert "was killed by SIGKILL" in said or "has lost another one" in said
    again = Killed(tmp_path / "hand", 60)
    assert again.end()[0] == 0
    assert digests(tmp_path / "elastic") == digests(tmp_path / "hand")
    assert losses(tmp_path / "elastic") == losses(tmp_path / "hand")


@pytest.mark.slow
def test_sigterm_to_the_command_saves_in_all_and_exits_143(tmp_path: Path) -> None:
    running = Killed(tmp_path / "run", 100_000)
    wait_for(tmp_path / "run" / "metrics.jsonl", 240)
    running.process.terminate()
    code, said = running.end()
    assert code == 143, said
    checkpoint = Run(tmp_path / "run").latest()
    assert checkpoint is not None
    assert checkpoint.step == len(losses(tmp_path / "run"))


@pytest.mark.slow
def test_prompts_of_a_file_are_drawn_and_scores_made_by_several_processes(tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text("one\ntwo\nthree\nfour\nfive\n")
    assert cdkit("train", str(DIGITS), "--device", "cpu", "--out", str(tmp_path / "run"), *overrides()).returncode == 0
    words = ["sample", str(tmp_path / "run"), "--prompts-file", str(tmp_path / "prompts.txt"), "--device", "cpu", "--json"]
    for name, more in {"one": (), "two": ("--procs", "2")}.items():
        done = cdkit(*words, "--out", str(tmp_path / name), *more)
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)
        assert told["captions"] == ["one", "two", "three", "four", "five"]
        assert told["seeds"] == [0, 1, 2, 3, 4]
    for picture in sorted((tmp_path / "one").glob("0*.png")):
        here, there = (np.asarray(Image.open(tmp_path / name / picture.name), dtype=int) for name in ("one", "two"))
        assert abs(here - there).max() <= 1
    scores: list[Any] = []
    for more in ((), ("--procs", "2")):
        done = cdkit(
            "evaluate", str(tmp_path / "run"), "--metric", "frechet", "--pictures", "60", "--device", "cpu", "--json", *more
        )
        assert done.returncode == 0, done.stderr
        scores.append(json.loads(done.stdout)["reports"][0]["scores"][0]["result"])
    assert scores[0].keys() == scores[1].keys()
    for key, value in scores[0].items():
        assert scores[1][key] == (pytest.approx(value, rel=1e-3) if isinstance(value, float) else value)
