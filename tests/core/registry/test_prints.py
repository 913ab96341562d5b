"""What is printed while a plugin is imported: whatever way it takes, it ends on stderr, and afterwards stdout is what it was."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import StringIO

import pytest
from cdkit.registry.prints import Tagged, prints_aside

OUT, ERR = 1, 2
Captured = pytest.CaptureFixture[str]


def say(text: str) -> None:
    """By descriptor, as C code does."""
    os.write(OUT, text.encode())


@contextmanager
def closed(descriptor: int) -> Iterator[None]:
    """Without it for a while, as under a daemon."""
    kept = os.dup(descriptor)
    os.close(descriptor)
    try:
        yield
    finally:
        os.dup2(kept, descriptor)
        os.close(kept)


def test_every_way_leads_to_stderr_and_back(capfd: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    before = os.listdir("/proc/self/fd")
    with open(OUT, "w", closefd=False) as buffered:  # as it is where nobody asked for PYTHONUNBUFFERED
        monkeypatch.setattr(sys, "__stdout__", buffered)
        buffered.write("waiting;")  # said before, and in the buffer still
        with prints_aside("x 1.0"):
            print("printed")
            say("by descriptor;")
            buffered.write("behind your back;")
        say("afterwards")
    assert os.listdir("/proc/self/fd") == before
    out, err = capfd.readouterr()
    assert out == "waiting;afterwards"
    assert all(said in err for said in ("[x 1.0] printed\n", "by descriptor;", "behind your back;"))


def test_it_leads_back_when_the_import_fails(capfd: Captured) -> None:
    with suppress(ZeroDivisionError), prints_aside("x 1.0"):
        say("before;")
        raise ZeroDivisionError
    say("afterwards")
    assert capfd.readouterr() == ("afterwards", "before;")


def test_without_a_stdin_its_descriptor_is_borrowed_and_given_back(capfd: Captured) -> None:
    with closed(0):
        with prints_aside("x 1.0"):
            say("aside")
        say("afterwards")
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(0)
    assert capfd.readouterr() == ("afterwards", "aside")


def test_without_a_stdout_there_is_nothing_to_lead_back(capfd: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "__stdout__", None)
    with closed(OUT), prints_aside("x 1.0"):
        print("printed")
    assert capfd.readouterr() == ("", "[x 1.0] printed\n")


def test_a_tagged_stream_is_a_stream() -> None:
    """Each line bears the tag once, however it is written."""
    held = StringIO()
    stream = Tagged("x 1.0", held)
    assert [stream.write(text) for text in ("one ", "line\n", "", "two\nthree")] == [4, 5, 0, 9]
    assert held.getvalue() == "[x 1.0] one line\n[x 1.0] two\n[x 1.0] three"


def test_a_tagged_stream_has_the_descriptor_of_the_real_one_and_its_buffer(capfd: Captured) -> None:
    with os.fdopen(os.dup(ERR), "w") as real:
        stream = Tagged("x 1.0", real)
        assert stream.fileno() == real.fileno()
        stream.write("held")
        assert capfd.readouterr().err == ""
        stream.flush()
        assert capfd.readouterr().err == "[x 1.0] held"
