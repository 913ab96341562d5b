"""A comparison's cells by several processes: the same result, stopped and killed and failed as by one."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from cdkit.compare.crew import crew_of, devices, in_turn
from cdkit.compare.fingerprint import fingerprint
from cdkit.compare.job import Failed, Job, Outcome, Unfinished, gathered
from cdkit.compare.live import line
from cdkit.compare.setting import Setting
from cdkit.engine.run import Run
from cdkit.errors import EnvironmentFault, UsageError

BASE = """
cdkit: 1
name: base
sample: {channels: 1, height: 8, width: 8}
conditions:
  text: {use: bytes, dim: 8, depth: 1, heads: 1, dropout: 0.2}
injectors:
  - {use: film, streams: [text]}
backbone: {use: unet, width: 8, mult: [1], blocks: 1, attention: [0], heads: 1}
diffusion: {schedule: cosine, prediction: v}
guidance: {use: cfg, scale: 1.5}
sampler: {use: euler, steps: 2}
data: {use: digits}
train: {steps: 6, batch: 4, warmup: 1, log_every: 1, sample_every: 0, checkpoint_every: 2, prompts: [seven]}
"""
COMPARISON = """
compare: 1
name: small
base: base.yaml
seeds: [0, 1]
guidance: [1.0]
timing: false
arms:
  told: {injectors: [{use: film, streams: [text]}]}
  added: {injectors: [{use: add, streams: [text]}]}
score: {use: identification, pairs: 12, candidates: 4, levels: [0.5]}
prompts: [one, seven]
"""
PROGRAM = "from cdkit.cli.app import main; main()"


def written(folder: Path) -> Path:
    (folder / "base.yaml").write_text(BASE, encoding="utf-8")
    (folder / "small.yaml").write_text(COMPARISON, encoding="utf-8")
    return folder / "small.yaml"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return written(tmp_path)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What one process finds."""
    folder = tmp_path_factory.mktemp("alone")
    return compared(written(folder), folder / "out")


def lengthened(path: Path, steps: int, every: int) -> None:
    """Trainings that last, saved now and then."""
    text = BASE.replace("steps: 6", f"steps: {steps}").replace("checkpoint_every: 2", f"checkpoint_every: {every}")
    (path.parent / "base.yaml").write_text(text.replace("log_every: 1", "log_every: 5"), encoding="utf-8")


def started(path: Path, out: Path, *options: str) -> subprocess.Popen[str]:
    """The command in a process of its own, with a thread for each of its own."""
    given = [sys.executable, "-c", PROGRAM, "compare", str(path), "--out", str(out), "--device", "cpu", "--deterministic"]
    where = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([*given, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=where)


def compared(path: Path, out: Path, *options: str) -> dict[str, Any]:
    """What the whole command found."""
    child = started(path, out, *options)
    said, errors = child.communicate(timeout=240)
    assert child.returncode == 0, errors
    result = json.loads((out / "result.json").read_text(encoding="utf-8"))
    assert result["fingerprint"] == fingerprint(result)
    assert result["fingerprint"][:12] in said
    return result


def until_trained(child: subprocess.Popen[str], out: Path, step: int) -> None:
    """Waits until some cell has made so many steps and is still at it."""
    deadline = time.monotonic() + 120
    while not any(f'"step": {step},' in file.read_text() for file in out.glob("runs/*/metrics.jsonl")):
        assert time.monotonic() < deadline, "no cell came so far"
        assert child.poll() is None, child.communicate()
        time.sleep(0.02)


def is_written(run: Run) -> bool:
    """Is there a process that has this run?"""
    try:
        with run.lock():
            return False
    except EnvironmentFault:
        return True


@pytest.mark.slow
def test_one_and_two_processes_find_the_same(path: Path, tmp_path: Path, alone: dict[str, Any]) -> None:
    together = compared(path, tmp_path / "together", "--jobs", "2")
    assert together["fingerprint"] == alone["fingerprint"]
    assert together["machine"].endswith("2 jobs at once on 1 device")
    assert len(list((tmp_path / "together" / "logs").glob("*-seed-*.log"))) == 4


@pytest.mark.slow
def test_killed_in_the_middle_of_a_training_it_ends_the_same(path: Path, tmp_path: Path) -> None:
    """kill -9 of the command while two workers train: they end with it, and the next command goes on from what was saved."""
    lengthened(path, steps=60, every=20)
    whole = compared(path, tmp_path / "whole")
    child = started(path, tmp_path / "cut", "--jobs", "2")
    until_trained(child, tmp_path / "cut", 35)
    child.kill()
    child.communicate(timeout=60)
    runs = [Run(path) for path in (tmp_path / "cut" / "runs").iterdir()]
    deadline = time.monotonic() + 30
    while any(map(is_written, runs)):
        assert time.monotonic() < deadline, "a worker outlives the command"
        time.sleep(0.05)
    steps = {checkpoint.step for run in runs if (checkpoint := run.latest())}
    assert steps & {20, 40}, "the kill came in the middle"
    assert compared(path, tmp_path / "cut")["fingerprint"] == whole["fingerprint"]


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_reaches_all_workers_which_save(path: Path, tmp_path: Path, number: int, code: int) -> None:
    lengthened(path, steps=100_000, every=100_000)
    child = started(path, tmp_path / "out", "--jobs", "2")
    until_trained(child, tmp_path / "out", 10)
    child.send_signal(number)
    said, errors = child.communicate(timeout=60)
    assert child.returncode == code, errors
    assert f"stopped by {number.name}, saved; the same command goes on" in errors
    assert "Traceback" not in errors
    assert said == "", "no cell is finished"
    saved = [Run(run).latest() for run in (tmp_path / "out" / "runs").iterdir()]
    assert saved
    assert all(checkpoint is not None and 0 < checkpoint.step < 100_000 for checkpoint in saved)


@pytest.mark.slow
def test_all_workers_keep_to_the_minutes(path: Path, tmp_path: Path) -> None:
    lengthened(path, steps=100_000, every=100_000)
    child = started(path, tmp_path / "out", "--jobs", "2", "--minutes", "0.5")
    _, errors = child.communicate(timeout=120)
    assert child.returncode == 0, errors
    assert errors.strip().endswith("the minutes are over; the same command goes on")
    saved = [Run(run).latest() for run in (tmp_path / "out" / "runs").iterdir()]
    assert 1 <= len(saved) <= 2, "of four cells two are at work, and the others do not begin"
    assert all(checkpoint is not None for checkpoint in saved)


@pytest.mark.slow
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_cell_that_fails_is_told_after_all_others_are_trained(path: Path, tmp_path: Path, jobs: str) -> None:
    text = COMPARISON.replace("name: small", "name: small\nvary: [injectors, train]")
    path.write_text(
        text.replace("streams: [text]}]}\nscore", "streams: [text]}], train: {lr: 1.0e+30}}\nscore"), encoding="utf-8"
    )
    child = started(path, tmp_path / "out", "--jobs", jobs)
    said, errors = child.communicate(timeout=120)
    assert child.returncode == 1
    assert "error: added, seed 0: " in errors
    assert "error: added, seed 1: " in errors
    assert "hint: lower train.lr or train.clip, or train in fp32" in errors
    assert "Traceback" not in errors
    runs = {run.name.rsplit("-", 1)[0]: Run(run).latest() for run in (tmp_path / "out" / "runs").iterdir()}
    finished = {name for name, checkpoint in runs.items() if checkpoint is not None and checkpoint.step == 6}
    assert finished == {"told-0", "told-1"}
    assert "told, seed 1, 6 steps" in said


@pytest.mark.slow
def test_a_worker_that_is_killed_is_told(path: Path, tmp_path: Path) -> None:
    lengthened(path, steps=100_000, every=100_000)
    child = started(path, tmp_path / "out", "--jobs", "2")
    until_trained(child, tmp_path / "out", 10)
    run = next((tmp_path / "out" / "runs").iterdir())
    os.kill(int((run / ".lock").read_text().split()[1]), signal.SIGKILL)
    _, errors = child.communicate(timeout=60)
    assert child.returncode == 1
    assert "a worker process ended without an answer" in errors
    assert "hint: fewer --jobs need less memory; the same command goes on" in errors


@pytest.mark.slow
def test_with_ray_the_result_is_that_of_one_process(path: Path, tmp_path: Path, alone: dict[str, Any]) -> None:
    pytest.importorskip("ray", reason="the extra `ray` is not installed")
    clustered = compared(path, tmp_path / "clustered", "--engine", "ray", "--jobs", "2")
    assert clustered["fingerprint"] == alone["fingerprint"]
    assert clustered["machine"].endswith("on Ray, 2 jobs at once at most")


@pytest.mark.slow
def test_a_signal_reaches_the_tasks_of_ray_which_save(path: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="the extra `ray` is not installed")
    lengthened(path, steps=100_000, every=100_000)
    child = started(path, tmp_path / "out", "--engine", "ray")
    until_trained(child, tmp_path / "out", 10)
    child.send_signal(signal.SIGINT)
    _, errors = child.communicate(timeout=60)
    assert child.returncode == 130, errors
    saved = [Run(run).latest() for run in (tmp_path / "out" / "runs").iterdir()]
    assert saved
    assert all(checkpoint is not None and 0 < checkpoint.step < 100_000 for checkpoint in saved)


@pytest.mark.skipif(importlib.util.find_spec("ray") is not None, reason="Ray is installed")
def test_without_ray_it_is_said_how_to_get_it() -> None:
    with pytest.raises(EnvironmentFault, match="--engine ray: Ray is not installed") as caught:
        crew_of("ray", None, None)
    assert caught.value.hint == 'pip install "cdkit[ray]", on every node'


def test_ray_deals_out_the_devices() -> None:
    pytest.importorskip("ray", reason="the extra `ray` is not installed")
    with pytest.raises(UsageError, match="deals out the devices itself; --device cuda:1 cannot be kept"):
        crew_of("ray", None, "cuda:1")


def test_without_a_gpu_there_is_one_at_work() -> None:
    assert devices("cpu") == ["cpu"]
    assert crew_of("local", None, "cpu") is in_turn
    assert crew_of("local", 3, "cpu").about == "3 jobs at once on 1 device"


def test_a_problem_that_many_have_is_told_once() -> None:
    jobs = [Job(name, "train", ()) for name in ("a, seed 0", "b, seed 0", "c, seed 0")]
    full, other = Outcome(problem="the disk is full", hint="make room"), Outcome(problem="NaN")
    said: list[str] = []
    answers = iter([(2, other), (0, full), (1, full)])
    with pytest.raises(Failed) as caught:
        gathered(jobs, answers, said.append)
    assert str(caught.value) == "a, seed 0; b, seed 0: the disk is full\nc, seed 0: NaN"
    assert caught.value.hint == "make room"


def test_values_come_in_the_order_of_their_jobs() -> None:
    jobs = [Job(name, "train", ()) for name in "ab"]
    said: list[str] = []
    assert gathered(jobs, iter([(1, Outcome("B", said=("b is done",))), (0, Outcome("A"))]), said.append) == ["A", "B"]
    assert said == ["b is done"]
    with pytest.raises(Unfinished):
        gathered(jobs, iter([(0, Outcome("A"))]), said.append)
    with pytest.raises(Unfinished):
        gathered(jobs, iter([(0, Outcome("A")), (1, Outcome(unfinished=True))]), said.append)


def test_a_status_shows_how_far_each_is(tmp_path: Path) -> None:
    journal = tmp_path / "metrics.jsonl"
    job = Job("film, seed 0", "train", (), journal, 400)
    assert line([job], 2, 7) == "2 of 7 done · film, seed 0: 0 of 400"
    journal.write_text('{"step": 10, "loss": 1.0}\n{"step": 20, "loss": 0.9}\n{"st', encoding="utf-8")
    assert line([job, Job("add, seed 0", "tested", ())], 2, 7) == "2 of 7 done · film, seed 0: 20 of 400 · add, seed 0"


def test_a_fingerprint_sees_a_score_and_no_clock() -> None:
    result = {"date": "today", "arms": {"film": {"scores": {"said_drawn": [0.5]}, "seconds": {"step": 0.1}}}}
    later = {"date": "tomorrow", "arms": {"film": {"scores": {"said_drawn": [0.5]}, "seconds": {"step": 0.2}}}}
    other = {"date": "today", "arms": {"film": {"scores": {"said_drawn": [0.6]}, "seconds": {"step": 0.1}}}}
    assert fingerprint(result) == fingerprint(later) == fingerprint({**result, "fingerprint": "its own"})
    assert fingerprint(result) != fingerprint(other)


def test_threads_are_divided_unless_rounding_matters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 16)
    assert Setting.shared(8) == Setting(deterministic=False, threads=2)
    assert Setting.shared(32).threads == 1
    monkeypatch.setattr(torch, "are_deterministic_algorithms_enabled", lambda: True)
    assert Setting.shared(1) == Setting(deterministic=True, threads=1)
