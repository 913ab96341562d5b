"""--deterministic: what torch cannot repeat is an error, and two trainings of one spec leave the same bits."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pytest
import torch
from cdkit.engine.device import be_deterministic
from cdkit.errors import EnvironmentFault

pytestmark = pytest.mark.slow

DIGITS = Path(__file__).parents[3] / "specs" / "digits.yaml"
TINY = ("backbone.width=8", "backbone.heads=1", "train.batch=4", "train.steps=3", "train.warmup=1", "train.sample_every=0")


@pytest.fixture
def restored(monkeypatch: pytest.MonkeyPatch) -> Generator[pytest.MonkeyPatch]:
    """What be_deterministic changes is as before, after the test."""
    benchmark = torch.backends.cudnn.benchmark
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")
    yield monkeypatch
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.benchmark = benchmark


@pytest.mark.usefixtures("restored")
def test_what_cannot_be_repeated_is_an_error() -> None:
    at, values = torch.tensor([0, 0]), torch.tensor([1.0, 2.0])
    torch.zeros(3).put_(at, values)  # which of the two stays is left open
    be_deterministic()
    with pytest.raises(RuntimeError, match="does not have a deterministic implementation"):
        torch.zeros(3).put_(at, values)
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    assert torch.backends.cudnn.benchmark is False


def test_too_late_for_cuda_says_what_to_export(restored: pytest.MonkeyPatch) -> None:
    restored.setattr(torch.cuda, "is_available", lambda: True)
    restored.setattr(torch.cuda, "is_initialized", lambda: True)
    with pytest.raises(EnvironmentFault, match="needs CUBLAS_WORKSPACE_CONFIG=:4096:8 before CUDA starts") as caught:
        be_deterministic()
    assert caught.value.hint == "export CUBLAS_WORKSPACE_CONFIG=:4096:8"


def test_two_trainings_leave_the_same_bits(tmp_path: Path) -> None:
    digests = [digest_of(tmp_path / name) for name in ("one", "two")]
    assert digests[0] == digests[1]


def digest_of(out: Path) -> dict[str, str]:
    """Train by the command line -> each file's sha256, out of the checkpoint's manifest."""
    sets = [word for override in TINY for word in ("--set", override)]
    program = "from cdkit.cli.app import main; main()"
    command = [
        sys.executable,
        "-c",
        program,
        "train",
        str(DIGITS),
        "--deterministic",
        "--device",
        "cpu",
        "--out",
        str(out),
        *sets,
    ]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    manifest = json.loads((out / "checkpoints" / "step-000003" / "manifest.json").read_text())
    return {name: file["sha256"] for name, file in manifest["files"].items() if name.endswith(".safetensors")}
