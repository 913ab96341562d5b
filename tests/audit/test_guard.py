"""The guard hears what it must, says who it was, and its list of exceptions is one that people read."""

from __future__ import annotations

import os
import pickle
import socket
import subprocess
import sys
import tomllib
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
from audited import ALLOWED, Allowed, Ear, Event, allowed, unasked

TESTS = Path(__file__).parents[1]
EVENTS = {
    "exec",
    "pickle.find_class",
    "subprocess.Popen",
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "socket.connect",
    "socket.getaddrinfo",
    "urllib.Request",
    "open",
}
NOWHERE = ("192.0.2.1", 9)  # kept free for documents by RFC 5737


@pytest.fixture
def ear() -> Ear:
    """An ear of this test's own: the suite's hears it too, and is told so in the list."""
    made = Ear()
    sys.addaudithook(made.hook)
    return made


def heard(ear: Ear, work: Callable[[], object]) -> list[Event]:
    ear.listening = True
    try:
        work()
    finally:
        ear.listening = False
    return ear.heard()


def unpickled() -> object:
    return pickle.loads(pickle.dumps(Decimal(1)))


def evaluated() -> object:
    return eval("1 + 1")


def started() -> object:
    return subprocess.run([sys.executable, "--version"], capture_output=True, check=True)


def connected() -> None:
    with socket.socket() as attempt:
        attempt.setblocking(False)
        attempt.connect_ex(NOWHERE)


def module_elsewhere(folder: Path) -> None:
    exec(compile("x = 1", str(folder / "strange.py"), "exec"), {})


def written_elsewhere() -> None:
    with pytest.raises(OSError, match=r"read-only|not permitted|denied|Is a directory|No such"):
        os.open("/nowhere-of-ours/file", os.O_WRONLY | os.O_CREAT)


def test_it_hears_and_says_who(ear: Ear, tmp_path: Path) -> None:
    assert [(e.kind, e.what) for e in heard(ear, unpickled)] == [("pickle.find_class", "decimal.Decimal")]
    assert [(e.kind, e.what) for e in heard(ear, evaluated)] == [("exec", "<string>")]
    assert "subprocess.Popen" in {e.kind for e in heard(ear, started)}
    assert [(e.kind, e.what) for e in heard(ear, connected)] == [("socket.connect", str(NOWHERE))]
    assert [(e.kind, e.what) for e in heard(ear, lambda: module_elsewhere(tmp_path))] == [("exec", str(tmp_path / "strange.py"))]
    assert [e.what for e in heard(ear, written_elsewhere) if e.kind == "open"] == ["write /nowhere-of-ours/file"]
    assert {e.who for e in heard(ear, unpickled)} == {__name__}


def test_it_hears_of_processes_that_were_forked(ear: Ear) -> None:
    def fork() -> None:
        if (child := os.fork()) == 0:
            unpickled()
            os._exit(0)
        os.waitpid(child, 0)

    assert [e.kind for e in heard(ear, fork)] == ["pickle.find_class"]


def test_it_is_deaf_to_what_everybody_does(ear: Ear, tmp_path: Path) -> None:
    def ordinary() -> None:
        (tmp_path / "mine").write_text("x")
        assert (tmp_path / "mine").read_text() == "x"
        assert Path(__file__).read_text()
        sys.modules.pop("colorsys", None)
        __import__("colorsys")

    assert heard(ear, ordinary) == []


def test_what_is_not_allowed_is_a_failure() -> None:
    event = Event("pickle.find_class", "cdkit.engine.load", "os.system")
    assert unasked("tests/x.py::test_x", [event, event]) == [event]


def test_an_entry_covers_what_it_names_alone() -> None:
    entry = Allowed("tests/a.py::*", "subprocess.Popen", "mine", "*python*", "it must")
    event = Event("subprocess.Popen", "mine", "/bin/python3")
    assert entry.covers("tests/a.py::test_x[1]", event)
    for other in (event._replace(kind="os.system"), event._replace(who="other"), event._replace(what="/bin/sh")):
        assert not entry.covers("tests/a.py::test_x[1]", other)
    assert not entry.covers("tests/b.py::test_x[1]", event)


def test_the_list_can_be_read() -> None:
    """Every entry has a reason, names an event that the guard hears, and tests that there are; none is there twice."""
    entries = tomllib.loads(ALLOWED.read_text(encoding="utf-8"))["allow"]
    assert all(set(one) <= {"test", "event", "who", "what", "reason"} for one in entries)
    assert len({tuple(sorted(one.items())) for one in entries}) == len(entries)
    for one in allowed():
        assert len(one.reason) >= 10, one
        assert one.kind in EVENTS, one
        assert one.who != "*" or one.test != "*", f"{one}: everybody may do that for anybody"
        file = one.test.partition("::")[0]
        assert one.test == "*" or list(TESTS.parent.glob(file)), f"{one}: there is no {file}"


def test_nothing_of_cdkit_may_unpickle_start_or_connect_everywhere() -> None:
    """What all tests may do, the libraries that they stand on do; of cdkit, only in the tests that are about it."""
    for one in allowed():
        assert one.test != "*" or not one.who.startswith(("cdkit", "*")), one
