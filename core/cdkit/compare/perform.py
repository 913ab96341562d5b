"""perform: a job done in a process that is not the person's: what it says, warns of and dies of comes back, or is in its log."""

from __future__ import annotations

import signal
import traceback
from contextlib import redirect_stderr
from pathlib import Path

from cdkit.compare.job import Job, Outcome, Workplace, attempt
from cdkit.engine.stop import Stopped
from cdkit.errors import EnvironmentFault

LOGS = "logs"


class Interrupted(BaseException):
    """A signal came, and everybody has saved. The exit code is 128 + the signal's number."""

    def __init__(self, number: int, where: str) -> None:
        super().__init__(f"{where}: stopped by {signal.Signals(number).name}, saved; the same command goes on")
        self.exit_code = 128 + number


def performed(workplace: Workplace, job: Job) -> Outcome:
    """Do a job here. Its progress and warnings go into a log of its own, for many would talk at once."""
    said: list[str] = []
    workplace.say = said.append
    log = log_of(workplace.folder, job)
    log.parent.mkdir(parents=True, exist_ok=True)
    try:
        with log.open("a", encoding="utf-8") as file, redirect_stderr(file):
            outcome = guarded(workplace, job)
    except (Stopped, KeyboardInterrupt):
        return Outcome(unfinished=True)
    return outcome if outcome.unfinished or outcome.problem else Outcome(outcome.value, said=tuple(said))


def guarded(workplace: Workplace, job: Job) -> Outcome:
    """An attempt in which a defect is an outcome too, traceback and all, for it cannot be raised in another process as it is."""
    try:
        return attempt(workplace, job)
    except Exception as error:
        told = out_of_memory(error)
        return Outcome(problem=str(told), hint=told.hint) if told else Outcome(problem=traceback.format_exc().rstrip())


def log_of(folder: Path, job: Job) -> Path:
    """`film, seed 0` -> logs/film-seed-0.log."""
    return folder / LOGS / f"{job.name.replace(', ', '-').replace(' ', '-')}.log"


def out_of_memory(error: BaseException) -> EnvironmentFault | None:
    """The error in words if it says that memory is exhausted."""
    if not isinstance(error, MemoryError) and type(error).__name__ != "OutOfMemoryError":
        return None
    first = (str(error).splitlines() or [""])[0]
    return EnvironmentFault(f"out of memory: {first}", hint="fewer --jobs, or a smaller train.batch, need less")
