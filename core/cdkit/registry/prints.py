"""What a plugin prints while it is imported goes to stderr under its name: stdout is for what was asked for."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from contextlib import contextmanager, redirect_stdout, suppress
from io import TextIOBase
from typing import TextIO


class Tagged(TextIOBase):
    """A stream that begins every line with a tag."""

    def __init__(self, tag: str, out: TextIO) -> None:
        self.tag, self.out, self.fresh = tag, out, True

    def write(self, s: str, /) -> int:
        for line in s.splitlines(keepends=True):
            self.out.write(f"[{self.tag}] {line}" if self.fresh else line)
            self.fresh = line.endswith("\n")
        return len(s)

    def flush(self) -> None:
        self.out.flush()

    def fileno(self) -> int:
        return self.out.fileno()


@contextmanager
def prints_aside(tag: str) -> Generator[None, None, None]:
    """print() is tagged; what C code or a child process writes to descriptor 1 goes to stderr as it is."""
    with redirect_stdout(Tagged(tag, sys.stderr)), _descriptor_aside():
        yield


@contextmanager
def _descriptor_aside() -> Generator[None, None, None]:
    saved = -1
    with suppress(OSError):  # a process may have no stdout at all
        _flush()
        saved = os.dup(1)
        os.dup2(2, 1)
    try:
        yield
    finally:
        if saved >= 0:
            _flush()
            os.dup2(saved, 1)
            os.close(saved)


def _flush() -> None:
    """What waits in the buffer of the real stdout belongs where descriptor 1 leads now."""
    with suppress(OSError, ValueError):
        if sys.__stdout__ is not None:
            sys.__stdout__.flush()
