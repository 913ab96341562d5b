"""Stop: the first SIGINT or SIGTERM ends the step, saves and exits; the second stops at once."""

from __future__ import annotations

import signal
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType


class Stopped(BaseException):
    """Training was stopped by a signal, and its state is saved. The exit code is 128 + the signal's number."""

    def __init__(self, number: int, step: int, where: str) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name} at step {step}; to go on: the same command again ({where})")
        self.exit_code = 128 + number


class Stop:
    """`asked` is the number of the signal that came, 0 before any did."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, number: int, frame: FrameType | None) -> None:
        del frame
        if self.asked:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        self.asked = number


@contextmanager
def stoppable() -> Generator[Stop]:
    """While it lasts, signals ask for a stop. In a thread, where none can be caught, they do what they always do."""
    stop = Stop()
    kept: dict[int, object] = {}
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            try:
                kept[number] = signal.signal(number, stop)
            except ValueError:
                break
        yield stop
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)  # pyright: ignore[reportArgumentType]
