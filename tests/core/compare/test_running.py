"""A comparison's cells by several processes: the same result, stopped and killed and failed as by one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from cdkit.compare.fingerprint import fingerprint

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
arms:
  told: {injectors: [{use: film, streams: [text]}]}
  added: {injectors: [{use: add, streams: [text]}]}
score: {use: identification, pairs: 12, candidates: 4, levels: [0.5]}
prompts: [one, seven]
"""
PROGRAM = "from cdkit.cli.app import main; main()"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "base.yaml").write_text(BASE, encoding="utf-8")
    (tmp_path / "small.yaml").write_text(COMPARISON, encoding="utf-8")
    return tmp_path / "small.yaml"


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


def test_one_and_two_processes_find_the_same(path: Path, tmp_path: Path) -> None:
    alone, together = compared(path, tmp_path / "alone"), compared(path, tmp_path / "together", "--jobs", "2")
    assert together["fingerprint"] == alone["fingerprint"]
    assert together["machine"].endswith("2 jobs at once on 1 device")
    assert len(list((tmp_path / "together" / "logs").glob("*-seed-*.log"))) == 4
    child = started(path, tmp_path / "together", "--jobs", "2")
    said, _ = child.communicate(timeout=120)
    assert "1 of 4" not in said, "nothing is trained again"
