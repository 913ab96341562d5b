"""probe: load a part in a process of its own, which a plugin may crash or hang without taking this one along."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias

from cdkit.registry.frames import innermost
from cdkit.registry.names import brief
from cdkit.registry.record import Record
from cdkit.registry.registry import Registry, UnknownPart

LONGEST = 60.0  # seconds that an import may take
SLOW = 5.0
BEFORE = 60.0  # more, for Python and torch, before the child is ended from outside
REPORT, FRAMES = "report.json", "frames.txt"
Row: TypeAlias = dict[str, Any]
FRAME = re.compile(r'File "(.+)", line (\d+) in ')


def probe(kind: str, name: str, *, longest: float = LONGEST) -> Row:
    """How loading goes, JSON-ready.

    `ok`; `seconds`, torch's own import aside, None where it did not come to an end; `error`, a sentence that says what, who and
    where, "" for a load that went well and fast; `mend`, what to do about it; `effects`, a sentence for each thing that the
    import changed beside its own module. longest: seconds after which it is ended.
    """
    try:
        record = Registry.installed().record(kind, name)
    except UnknownPart as error:
        return _row(error=str(error), mend=error.hint)
    assert record is not None, "only parts in memory have no record"
    with TemporaryDirectory(prefix="cdkit-probe-") as folder:
        status = _ran(kind, name, Path(folder), longest)
        return _told(record, Path(folder), status, longest)


def _row(ok: bool = False, seconds: float | None = None, error: str = "", mend: str = "", effects: Sequence[str] = ()) -> Row:
    return {"ok": ok, "seconds": seconds, "error": error, "mend": mend, "effects": [*effects]}


def _ran(kind: str, name: str, folder: Path, longest: float) -> int | None:
    """The exit status; None where it had to be ended from outside, with everything that it started."""
    with open(folder / "stderr.txt", "wb") as said:
        child = subprocess.Popen(
            [sys.executable, "-m", "cdkit.registry.child", kind, name, str(folder), str(longest)],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            start_new_session=True,
        )
        try:
            return child.wait(longest + BEFORE)
        except subprocess.TimeoutExpired:
            return None
        finally:
            _end(child)


def _end(child: subprocess.Popen[bytes]) -> None:
    """The child's whole session: a plugin may have started processes of its own."""
    with suppress(OSError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def _told(record: Record, folder: Path, status: int | None, longest: float) -> Row:
    """The child's report where there is one, else what became of it."""
    found, said = _report(folder), (folder / "stderr.txt").read_bytes()
    changed = [*found.get("effects", ()), *_printed(said, *found.get("printed", (0, 0)))]
    seconds = None if found.get("milliseconds") is None else found["milliseconds"] / 1000
    if found.get("ok"):
        slow = f"its import took {seconds:.1f} s" if (seconds or 0) > SLOW else ""
        return _row(True, seconds, str(replace(record, error=slow)) if slow else "", "", changed)
    timed_out, stack = _frames(folder)
    error = found.get("error") or _fate(None if timed_out else status, said, longest)
    where = found.get("where") or innermost(found.get("stack") or stack, record.entry)
    mend = found.get("mend") or f"mend, update or uninstall {record.entry.dist}"
    return _row(False, seconds, str(replace(record, error=error, where=where)), mend, changed)


def _fate(status: int | None, said: bytes, longest: float) -> str:
    """What became of a process that left no report."""
    if status is None:
        return f"its import took more than {longest:g} s and was ended"
    if status < 0:
        return f"its import killed the process with {signal.Signals(-status).name}"
    last = said.decode(errors="replace").strip().splitlines()[-1:]
    return f"it ended the process with status {status}" + (f", having said {brief(last[0], 200)!r}" if last else "")


def _report(folder: Path) -> dict[str, Any]:
    with suppress(OSError, ValueError):
        return json.loads((folder / REPORT).read_text(encoding="utf-8"))
    return {}


def _frames(folder: Path) -> tuple[bool, list[str]]:
    """Did faulthandler end it, and the stack that it left: `file:line`, oldest call first."""
    with suppress(OSError):
        text = (folder / FRAMES).read_text(encoding="utf-8", errors="replace")
        return text.startswith("Timeout"), [f"{file}:{line}" for file, line in FRAME.findall(text)][::-1]
    return False, []


def _printed(said: bytes, start: int, end: int) -> list[str]:
    """What was printed while it was imported; what went to stdout bears the loader's tag."""
    lines = said[start:end].decode(errors="replace").splitlines()
    return [f"it printed {len(lines)} line{'s' if len(lines) > 1 else ''}: {brief(lines[0], 100)}"] if lines else []
