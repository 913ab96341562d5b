"""live: who is at work and how far, on a terminal; nothing elsewhere, where finished jobs are told line by line."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import TypeAlias

from cdkit.compare.job import Job
from cdkit.engine.journal import told

Show: TypeAlias = Callable[[Sequence[Job], int], None]
TAIL = 1024  # bytes at a journal's end that hold its last lines


@contextmanager
def live(jobs: Sequence[Job]) -> Generator[Show]:
    """A status line for as long as the jobs take: told those that run, and how many are done."""
    if not (sys.stderr.isatty() and sys.stdout.isatty()):
        yield silent
        return
    from rich.console import Console
    from rich.markup import escape

    with Console(stderr=True).status("") as status:
        yield lambda running, done: status.update(escape(line(running, done, len(jobs))))


def silent(running: Sequence[Job], done: int) -> None:
    del running, done


def line(running: Sequence[Job], done: int, total: int) -> str:
    return f"{done} of {total} done" + "".join(f" · {at(job)}" for job in running)


def at(job: Job) -> str:
    """A job, and the step that its journal has come to."""
    if job.journal is None:
        return job.name
    return f"{job.name}: {steps_of(job)} of {job.steps}"


def steps_of(job: Job) -> int:
    """0 where nothing was written yet, or a line is being written at this moment."""
    assert job.journal is not None
    try:
        with job.journal.open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - TAIL))
            lines = file.read().decode().splitlines()
    except OSError:
        return 0
    return max((step for line in lines if (step := told(line)) is not None), default=0)
