"""Progress of a training: a bar on a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Protocol

EVERY = 5.0  # seconds between lines where there is no terminal


class Report(Protocol):
    """Told after a step: its number, and, as last known (not every step reads them), the loss and the share of the time that
    was spent waiting for data."""

    def __call__(self, step: int, loss: float, waited: float = ...) -> None: ...


@contextmanager
def progress(total: int, start: int) -> Generator[Report]:
    """A report for steps `start` to `total`, drawn on stderr."""
    if sys.stderr.isatty():
        with _bar(total, start) as report:
            yield report
    else:
        yield _Lines(total, start)


def unheard() -> AbstractContextManager[Report]:
    """A report that nobody hears."""

    def report(step: int, loss: float, waited: float = math.nan) -> None:
        del step, loss, waited

    return nullcontext(report)


class _Lines:
    def __init__(self, total: int, start: int) -> None:
        self.total, self.start = total, start
        self.said = time.monotonic()
        self.began = 0.0

    def __call__(self, step: int, loss: float, waited: float = math.nan) -> None:
        now = time.monotonic()
        if not self.began:  # the first step waits for workers and caches; it says nothing about the next ones
            self.began, self.start = now, step
            return
        if now - self.said < EVERY and step != self.total:
            return
        self.said = now
        rate = max(step - self.start, 1) / max(now - self.began, 1e-9)
        eta = _clock((self.total - step) / rate)
        print(f"step {step}/{self.total}{_loss(loss)}  {rate:.1f} it/s{_waited(waited)}  ETA {eta}", file=sys.stderr, flush=True)


@contextmanager
def _bar(total: int, start: int) -> Generator[Report]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns: tuple[Any, ...] = (BarColumn(None), MofNCompleteColumn(), TextColumn("{task.description}"), TimeRemainingColumn())
    began = time.monotonic()
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=total, completed=start)

        def report(step: int, loss: float, waited: float = math.nan) -> None:
            rate = max(step - start, 1) / max(time.monotonic() - began, 1e-9)
            bar.update(task, completed=step, description=f"{_loss(loss)}  {rate:.1f} it/s{_waited(waited)}")

        yield report


def _loss(loss: float) -> str:
    """Nothing before the first logged step."""
    return "" if math.isnan(loss) else f"  loss {loss:.4f}"


def _waited(share: float) -> str:
    return "" if math.isnan(share) else f"  waited {share:.1%}".replace("%", " %")


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
