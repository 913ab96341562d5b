"""publish: a comparison carried through, and what came of it in its folder: result.json, result.csv and report.html."""

from __future__ import annotations

from typing import Any

from cdkit.compare.kept import write
from cdkit.compare.report import report
from cdkit.compare.result import as_csv, result_of
from cdkit.compare.run import Comparing


def publish(comparing: Comparing, command: str = "") -> dict[str, Any]:
    """What came of it, written down; `command` is what the report says it was made by. Unfinished when the minutes are over."""
    result = result_of(comparing, comparing.go())
    if command:
        result["command"] = command
    folder = comparing.folder
    write(folder / "result.json", result)
    (folder / "result.csv").write_text(as_csv(result), encoding="utf-8")
    (folder / "report.html").write_text(report(result, folder), encoding="utf-8")
    return result
