"""What a probe tells of what its child left behind. The child is a stand-in here, a few lines of sh: a real one takes seconds."""
# ruff: noqa: E501  a table reads better whole

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cdkit.registry import probe as probing
from cdkit.registry.probe import probe

Distribution = Callable[..., Path]
Child = Callable[[str], None]
WHO = "cdkit-tried 1.0, entry point sampler.tried = tried_module: "
MEND = "mend, update or uninstall cdkit-tried"


@pytest.fixture
def child(distribution: Distribution, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Child:
    """child(script): what stands in for Python, called as Python is: `-m MODULE KIND NAME FOLDER SECONDS`."""
    distribution("cdkit-tried", {"sampler.tried": "tried_module"})

    def stands_in(script: str) -> None:
        path = tmp_path / "python"
        path.write_text(f"#!/bin/sh\ncd $5\n{script}\n")
        path.chmod(0o700)
        monkeypatch.setattr(sys, "executable", str(path))

    return stands_in


def left(**report: Any) -> str:
    """The line of a script that leaves this report."""
    return f"cat > report.json <<'END'\n{json.dumps(report)}\nEND"


def test_a_load_that_went_well(child: Child) -> None:
    child("echo before >&2\necho during\n" + left(ok=True, milliseconds=1500.0, effects=["it changed x"], printed=[7, 14]))
    effects = ["it changed x", "it printed 1 line: during"]
    assert probe("sampler", "tried") == {"ok": True, "seconds": 1.5, "error": "", "mend": "", "effects": effects}


@pytest.mark.parametrize(
    ("milliseconds", "error"), [(0, ""), (5000, ""), (5001, "its import took 5.0 s"), (61260, "its import took 61.3 s")]
)
def test_a_slow_load_is_told_though_it_went_well(child: Child, milliseconds: float, error: str) -> None:
    child(left(ok=True, milliseconds=milliseconds))
    found = probe("sampler", "tried")
    assert (found["ok"], found["seconds"], found["error"]) == (True, milliseconds / 1000, error and WHO + error)
    assert (found["mend"], found["effects"]) == ("", [])


def test_lines_that_were_printed_are_counted_and_the_first_is_shown(child: Child) -> None:
    child("echo one\necho two\necho three\n" + left(ok=True, milliseconds=1, printed=[0, 8]))
    assert probe("sampler", "tried")["effects"] == ["it printed 2 lines: one"]


def test_long_lines_are_cut(child: Child) -> None:
    line = "x" * 300
    child(f"echo {line}\n" + left(ok=True, milliseconds=1, printed=[0, 301]))
    assert probe("sampler", "tried")["effects"] == [f"it printed 1 line: {'x' * 99}…"]
    child(f"echo {line}\nexit 3")
    assert probe("sampler", "tried")["error"] == f"{WHO}it ended the process with status 3, having said '{'x' * 199}…'"


STACK = ["/lib/site.py:1", "/lib/runpy.py:9", "/x/tried_module.py:3", "/x/tried_module.py:8", "/lib/json.py:4"]
DUMP = "".join(f'  File "{file}", line {line} in f\n' for file, line in (place.split(":") for place in reversed(STACK)))


@pytest.mark.parametrize(
    ("script", "error", "where"),
    [
        ("exit 0", "it ended the process with status 0", ""),
        ("echo one\necho ' two\t2 '\nexit 3", "it ended the process with status 3, having said 'two 2'", ""),
        ("kill -SEGV $$", "its import killed the process with SIGSEGV", ""),
        ("kill -USR1 $$", "its import killed the process with SIGUSR1", ""),
        ("echo '{' > report.json\nexit 4", "it ended the process with status 4", ""),
        (left(ok=False, error="OSError: no", where="/x/y.py:1", stack=STACK), "OSError: no", "/x/y.py:1"),
        (left(ok=False, error="OSError: no", stack=STACK), "OSError: no", "/x/tried_module.py:8"),
        (f"cat > frames.txt <<'END'\nTimeout (0:00:01)!\n{DUMP}END\nexit 1", "its import took more than 7.5 s and was ended", "/x/tried_module.py:8"),
        (f"cat > frames.txt <<'END'\nFatal Python error: Aborted\n{DUMP}END\nkill -ABRT $$", "its import killed the process with SIGABRT", "/x/tried_module.py:8"),
    ],
)  # fmt: skip
def test_what_went_wrong_who_it_is_where_and_how_to_mend_it(child: Child, script: str, error: str, where: str) -> None:
    child(script)
    found = probe("sampler", "tried", longest=7.5)
    assert found == {"ok": False, "seconds": None, "error": WHO + error + (where and f" ({where})"), "mend": MEND, "effects": []}


def test_the_childs_own_words_of_how_to_mend_it_go_before(child: Child) -> None:
    child(left(ok=False, milliseconds=20, error="ImportError: no", mend="install it", effects=["it changed x"]))
    found = probe("sampler", "tried")
    assert (found["seconds"], found["mend"], found["effects"]) == (0.02, "install it", ["it changed x"])


def test_one_that_does_not_end_is_ended_with_all_that_it_started(
    child: Child, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probing, "BEFORE", 0.2)
    child(f"sleep 30 & echo $! $$ > {tmp_path}/started\nwait")
    began = time.monotonic()
    found = probe("sampler", "tried", longest=0.8)
    assert found["error"] == f"{WHO}its import took more than 0.8 s and was ended"
    assert 1 <= time.monotonic() - began < 20
    while any(map(lives, (tmp_path / "started").read_text().split())):
        assert time.monotonic() - began < 20, "a process that is killed takes its time, but not so much"
        time.sleep(0.01)


def lives(process: str) -> bool:
    """Is there a process that is more than the memory of one?"""
    stat = Path(f"/proc/{process}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


def test_the_child_is_told_what_to_load_and_left_alone(child: Child, tmp_path: Path) -> None:
    """Its stdin is empty, and its session its own, so that Ctrl-C here does not reach it."""
    child(
        f"echo $1 $2 $3 $4 $6 > {tmp_path}/asked\nwc -c >> {tmp_path}/asked\nps -o sid= -p $$ >> {tmp_path}/asked\necho $$ >> {tmp_path}/asked"
    )
    probe("sampler", "tried", longest=2.5)
    asked, count, session, process = (tmp_path / "asked").read_text().splitlines()
    assert asked == "-m cdkit.registry.child sampler tried 2.5"
    assert (count, session.strip()) == ("0", process)


def test_a_name_that_nobody_offers_starts_nothing(child: Child, tmp_path: Path) -> None:
    child(f"touch {tmp_path}/started")
    found = probe("sampler", "tired")
    assert found["error"] == "there is no sampler 'tired'; did you mean 'tried' (cdkit-tried==1.0)?"
    assert found["mend"].startswith("installed for sampler: ")
    assert (found["ok"], found["seconds"], found["effects"]) == (False, None, [])
    assert not (tmp_path / "started").exists()
