"""The child of a probe: loads one part and leaves a report behind, whatever becomes of it.

Run as `python -m cdkit.registry.child KIND NAME FOLDER SECONDS`. FOLDER gets `report.json`, written once the part was loaded or
failed, or called os._exit; and `frames.txt`, where faulthandler leaves the stack when the process dies of a signal, or is ended
after so many seconds.
"""

from __future__ import annotations

import faulthandler
import json
import os
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from cdkit.registry import BrokenPlugin, Registry
from cdkit.registry.sideeffects import effects, snapshot

REPORT = "report.json"
FRAMES = "frames.txt"


def main(kind: str, name: str, folder: Path, seconds: float) -> None:
    """Report how loading goes, and what it changed beside."""
    import_module("cdkit.parts")  # torch's own import is nobody's fault
    exit_now = os._exit
    with open(folder / FRAMES, "w", encoding="utf-8") as frames:
        faulthandler.enable(frames)
        faulthandler.dump_traceback_later(seconds, exit=True, file=frames)
        os._exit = told(folder, exit_now)
        report(folder, **loaded(kind, name))
        faulthandler.cancel_dump_traceback_later()
        faulthandler.disable()
    exit_now(0)  # what a plugin left to be done at the end is not waited for


def loaded(kind: str, name: str) -> dict[str, Any]:
    """The part's record, the side effects, and which bytes of stderr were written meanwhile."""
    registry, before, start = Registry.installed(), snapshot(), said()
    with suppress(BrokenPlugin):  # its record says it too
        registry.get(kind, name)
    changed, end, record = effects(before, snapshot()), said(), registry.record(kind, name)
    row = record.to_json() if record else {}
    return {**row, "ok": row.get("status") == "loaded", "effects": changed, "printed": [start, end]}


def said() -> int:
    """Bytes on stderr, which is a file here."""
    sys.stderr.flush()
    return os.fstat(2).st_size


def told(folder: Path, exit_now: Callable[[int], NoReturn]) -> Callable[[int], NoReturn]:
    """os._exit, once the report says who called it."""

    def _exit(status: int) -> NoReturn:
        error = f"it called os._exit({status!r}) while it was being imported"
        report(folder, ok=False, error=error, stack=[f"{one.filename}:{one.lineno}" for one in traceback.extract_stack()[:-1]])
        exit_now(status)

    return _exit


def report(folder: Path, **found: Any) -> None:
    (folder / REPORT).write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), float(sys.argv[4]))
