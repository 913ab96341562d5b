"""Failures: every error is a line for people on stderr and an exit code; a traceback only with --debug."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable
from typing import Any

import click
from cdkit.errors import CdkitError

INTERRUPTED = 130
ENVIRONMENT = 7


def handled(work: Callable[[], Any], *, debug: bool) -> int:
    """Do the work and return the exit code."""
    try:
        result = work()
    except BaseException as error:
        return failed(error, debug=debug)
    return result if isinstance(result, int) else 0


def failed(error: BaseException, *, debug: bool) -> int:
    """Say what went wrong and return the exit code. What is no failure of ours is shown whole: it is a defect."""
    if debug and not isinstance(error, SystemExit):
        traceback.print_exception(error)
    if isinstance(error, CdkitError):
        say(str(error), error.hint)
        return error.exit_code
    if isinstance(error, click.exceptions.Exit):
        return error.exit_code
    if isinstance(error, click.ClickException):
        error.show()
        return error.exit_code
    return of_the_world(error)


def of_the_world(error: BaseException) -> int:
    """Signals, full disks and exhausted memory."""
    if isinstance(error, (KeyboardInterrupt, click.Abort)):
        return INTERRUPTED
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else 1
    stopped = getattr(error, "exit_code", None)
    if isinstance(stopped, int):
        if str(error):
            print(str(error), file=sys.stderr)
        return stopped
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        say(f"out of memory: {str(error).splitlines()[0] if str(error) else ''}", "a smaller train.batch needs less")
        return ENVIRONMENT
    if isinstance(error, OSError):
        say(f"{error.filename or ''}: {error.strerror or error}".lstrip(": "), "")
        return ENVIRONMENT
    raise error


def tell(line: str) -> None:
    """A line on stdout, if anybody is still reading: a training goes on though the pipe that watched it is closed."""
    try:
        click.echo(line)
    except BrokenPipeError:
        let_go_of_stdout()


def let_go_of_stdout() -> None:
    """What is still in the buffer has nowhere to go; without this, Python complains once more at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def say(message: str, hint: str) -> None:
    """`error: …` and `hint: …`, with control characters shown instead of obeyed."""
    for line in message.splitlines() or [""]:
        print(f"error: {inert(line)}", file=sys.stderr)
    if hint:
        print(f"hint: {inert(hint)}", file=sys.stderr)


def inert(text: str) -> str:
    """Text that no terminal acts on: what cannot be printed is escaped."""
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)
