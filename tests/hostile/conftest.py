"""One way to hand the command line something bad, and everything that must hold whatever it was."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy  # noqa: F401  imported before any clock runs, as torch and the rest are
import pytest
import torch  # noqa: F401
from cdkit.cli.app import main

SPECS = Path(__file__).parents[2] / "specs"
LONGEST = 5.0  # seconds that any bad input may take


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command said and how it ended."""

    code: int
    out: str
    err: str
    seconds: float


Ask = Callable[..., Answer]
Refused = Callable[..., Answer]


def digest(folder: Path) -> str:
    """Of everything in a folder: names, kinds, permissions, contents."""
    told = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        state = path.lstat()
        told.update(repr((str(path.relative_to(folder)), stat.S_IFMT(state.st_mode), state.st_mode, state.st_size)).encode())
        if path.is_symlink():
            told.update(os.readlink(path).encode())
        elif path.is_file() and os.access(path, os.R_OK):
            told.update(path.read_bytes())
    return told.hexdigest()


@pytest.fixture
def ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Ask:
    """ask(*arguments): the real command line, in the test's folder, as `main` runs it."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> Answer:
        capfd.readouterr()
        monkeypatch.setattr(sys, "argv", ["cdkit", *arguments])
        started = perf_counter()
        with pytest.raises(SystemExit) as end:
            main()
        seconds = perf_counter() - started
        said = capfd.readouterr()
        return Answer(int(end.value.code or 0), said.out, said.err, seconds)

    return run


@pytest.fixture
def refused(ask: Ask, tmp_path: Path) -> Refused:
    """refused(*arguments, code=, says=): refused with exactly this exit code, first of all by a line that `says` matches from its
    beginning (after `error: `); nothing on stdout, no traceback, every file as it was, in less than five seconds.
    """

    def run(*arguments: str, code: int, says: str) -> Answer:
        before = digest(tmp_path)
        answer = ask(*arguments)
        assert answer.code == code, answer.err[-2000:]
        first = next((line for line in answer.err.splitlines() if line.lower().startswith("error: ")), "")
        assert re.match(says, first[len("error: ") :]), answer.err[-2000:]
        assert answer.out == ""
        assert "Traceback" not in answer.err
        assert "\x1b" not in answer.err
        assert digest(tmp_path) == before, "something was written, changed or lost"
        assert answer.seconds < LONGEST
        return answer

    return run
