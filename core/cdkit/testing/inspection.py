"""inspection: parts checked in another process, which one of them may crash or hang without taking this one along."""

from __future__ import annotations

import json
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import IO, Any

from cdkit.registry.probe import probe
from cdkit.testing.conformance import LOAD, Row

LONGEST = 300.0  # seconds that a check may take


def inspected(parts: Sequence[str], *, longest: float = LONGEST) -> Iterator[Row]:
    """A row for each check of each part (kind.name). Where the process dies of a check, the next part gets a new one."""
    waiting = list(parts)
    while waiting:
        child = subprocess.Popen(
            [sys.executable, "-m", "cdkit.testing", *waiting], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        try:
            yield from heard(child, waiting, longest)
        finally:
            child.kill()
            child.wait()


def heard(child: subprocess.Popen[str], waiting: list[str], longest: float) -> Iterator[Row]:
    """The rows of one process; parts that it is done with leave `waiting`, the one that ended it too."""
    assert child.stdout is not None
    assert child.stderr is not None
    lines, errors = read(child.stdout), read(child.stderr)
    part, check = waiting[0], "start"
    while waiting:
        try:
            line = lines.get(timeout=longest)
        except queue.Empty:
            ended = f"it took more than {longest:g} s and was ended"
            yield Row(part, check, "failed", (check == LOAD and probed(part)) or ended, longest)
            waiting.remove(part)
            return
        if line is None:
            yield Row(part, check, "failed", (check == LOAD and probed(part)) or fate(child, errors))
            waiting.remove(part)
            return
        said: dict[str, Any] = json.loads(line)
        part, check = said["part"], said.get("begun", check)
        if "outcome" in said:
            yield Row(**said)
        if "done" in said:
            waiting.remove(part)


def probed(part: str) -> str:
    """What a load that ends its process or never ends does, and where, by a process that watches it; "" if it loads there."""
    kind, _, name = part.partition(".")
    return probe(kind, name)["error"]


def read(stream: IO[str]) -> queue.Queue[str | None]:
    """A stream's lines as they come, and None at its end."""
    lines: queue.Queue[str | None] = queue.Queue()

    def follow() -> None:
        with stream:
            for line in stream:
                lines.put(line)
        lines.put(None)

    threading.Thread(target=follow, daemon=True).start()
    return lines


def fate(child: subprocess.Popen[str], errors: queue.Queue[str | None]) -> str:
    """Why the process ended, in a sentence."""
    status = child.wait()
    if status < 0:
        return f"it killed the process with {signal.Signals(-status).name}"
    last = [line for line in iter(errors.get, None) if line.strip()]
    return f"it ended the process with status {status}" + (f": {last[-1].strip()}" if last else "")
