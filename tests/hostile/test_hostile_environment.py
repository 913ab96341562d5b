"""Bad inputs 109 to 119: what a machine can lack. Faults in the middle of a training are in tests/core/engine."""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from cdkit.engine.checkpoint import committed, latest, write_checkpoint

Ask = Callable[..., Any]
DIGITS = Path(__file__).parents[2] / "specs" / "digits.yaml"
TINY = ("--set", "backbone.width=8", "--set", "backbone.heads=1", "--set", "sampler.steps=2")
BUILD = ("build", str(DIGITS), *TINY, "--out", "run")


def cdkit(*arguments: str, cwd: Path, env: Mapping[str, str] | None = None, **how: Any) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, which has its limits and its environment to itself."""
    program = [sys.executable, "-c", "from cdkit.cli.app import main; main()", *arguments]
    where = {**os.environ, "OMP_NUM_THREADS": "1"} if env is None else dict(env)
    return subprocess.run(program, cwd=cwd, env=where, stderr=subprocess.PIPE, text=True, timeout=120, check=False, **how)


def contents(run: Path) -> dict[str, bytes]:
    files = (path for path in sorted(run.rglob("*")) if path.is_file() and path.name != ".lock")  # it holds a process's number
    return {str(path.relative_to(run)): path.read_bytes() for path in files}


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_device_that_is_not_there(refused: Ask) -> None:
    """109: refused before there is a run; nothing asked for takes the CPU, and says so."""
    train = ("train", str(DIGITS), *TINY, "--out", "run", "--set", "train.steps=1", "--set", "train.sample_every=0")
    for device in ("cuda", "cuda:7", "abacus"):
        answer = refused(*train, "--device", device, code=7, says=rf"--device {device}: cannot be used here: ")
        assert "hint: leave --device out for the best there is" in answer.err


def test_the_cpu_is_named_where_there_is_no_other(ask: Ask) -> None:
    """109."""
    train = ("train", str(DIGITS), *TINY, "--out", "run", "--set", "train.steps=1", "--set", "train.sample_every=0")
    assert re.search(rf"for 1 steps on {'cuda' if torch.cuda.is_available() else 'cpu'}$", ask(*train).out, re.MULTILINE)


@pytest.mark.parametrize("verb", ["train", "build"])
def test_a_run_that_cannot_be_written(verb: str, refused: Ask, tmp_path: Path) -> None:
    """111: told before anything is trained."""
    (tmp_path / "file").write_text("not a folder")
    says = r"file/run: cannot be made a run folder: Not a directory$"
    refused(verb, str(DIGITS), *TINY, "--out", "file/run", "--set", "train.steps=1", code=7, says=says)


def test_samples_that_cannot_be_written(refused: Ask, tmp_path: Path) -> None:
    """111."""
    (tmp_path / "file").write_text("not a folder")
    refused(
        "sample", "animals", "-p", "a cat", "--steps", "1", "--out", "file/out", code=7, says=r"file(/out)?: Not a directory$"
    )


def test_no_home_and_an_old_locale_write_the_same_bytes(ask: Ask, tmp_path: Path) -> None:
    """112, 116: an environment of nothing but a path and LC_ALL=C, and one that is as it should be."""
    (tmp_path / "bare").mkdir()
    bare = {"PATH": os.environ["PATH"], "LC_ALL": "C", "PYTHONIOENCODING": "latin-1", "OMP_NUM_THREADS": "1"}
    done = cdkit(*BUILD, cwd=tmp_path / "bare", env=bare, stdout=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (0, "")
    assert ask(*BUILD).code == 0
    assert contents(tmp_path / "bare" / "run") == contents(tmp_path / "run")


def test_what_a_locale_cannot_print_is_escaped(tmp_path: Path) -> None:
    """116: a Chinese prompt where stdout takes Latin-1."""
    bare = {"PATH": os.environ["PATH"], "LC_ALL": "C", "PYTHONIOENCODING": "latin-1", "OMP_NUM_THREADS": "1"}
    arguments = ("sample", "animals", "-p", "猫", "--steps", "1", "--device", "cpu")
    done = cdkit(*arguments, cwd=tmp_path, env=bare, stdout=subprocess.PIPE)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "\\u732b" in done.stdout


@pytest.mark.parametrize(
    "name", ["with blanks", "ünïcödé 猫", "new\nline", "-dash", "x" * 250, "'quotes\"", "$HOME", "%s{0}"], ids=range(8)
)
def test_odd_paths_work(name: str, ask: Ask, tmp_path: Path) -> None:
    """117."""
    (tmp_path / name).mkdir()
    (tmp_path / name / "own.yaml").write_text(DIGITS.read_text(encoding="utf-8"), encoding="utf-8")
    answer = ask("build", f"./{name}/own.yaml", *TINY, "--out", f"./{name}/run")
    assert (answer.code, answer.err) == (0, "")
    assert latest(tmp_path / name / "run" / "checkpoints") is not None


def test_a_path_that_is_too_long_is_told(refused: Ask) -> None:
    """117."""
    refused(*BUILD[:-1], "x" * 300, code=7, says=r"x{300}(/spec\.yaml)?: .*File name too long$")


def test_order_is_by_step_whatever_the_clock_says(tmp_path: Path) -> None:
    """115: the newer checkpoint is ten years older by its files' times."""
    for step in (9, 10):
        write_checkpoint(tmp_path, step, {"backbone": {"w": torch.zeros(1)}}, {"ledger": {}}, {})
    for path in (tmp_path / "step-000010", *(tmp_path / "step-000010").iterdir()):
        os.utime(path, (0, 0))
    found = latest(tmp_path)
    assert found is not None
    assert found.step == 10
    assert [path.name for path in committed(tmp_path)] == ["step-000009", "step-000010"]


@pytest.mark.parametrize("verb", ["spec", "train"])
def test_a_closed_stdout_ends_quietly(verb: str, tmp_path: Path) -> None:
    """118: what nobody reads is no error, and a training is trained to its end."""
    line = {
        "spec": ("spec", "fill", str(DIGITS)),
        "train": ("train", str(DIGITS), *TINY, "--out", "run", "--set", "train.steps=3", "--set", "train.sample_every=0"),
    }
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = cdkit(*line[verb], cwd=tmp_path, stdout=writer)
    finally:
        os.close(writer)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "Broken pipe" not in done.stderr
    if verb == "train":
        found = latest(tmp_path / "run" / "checkpoints")
        assert found is not None
        assert found.step == 3


def test_few_open_files_are_enough(tmp_path: Path) -> None:
    """119."""

    def few() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))

    done = cdkit(*BUILD, cwd=tmp_path, stdout=subprocess.PIPE, preexec_fn=few)
    assert (done.returncode, done.stderr) == (0, "")
    assert latest(tmp_path / "run" / "checkpoints") is not None
