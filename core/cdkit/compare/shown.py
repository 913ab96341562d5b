"""shown: a comparison that ran, in a notebook: its verdicts, scores and prices."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from cdkit.compare.report import about, confidence, heads, item, price_heads, price_row, score_row
from cdkit.compare.table import rows
from cdkit.errors import UsageError

RESULT = "result.json"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a comparison found, as it lies in its folder."""

    folder: Path
    result: Mapping[str, Any]

    def _repr_html_(self) -> str:
        """In a notebook: verdicts, scores and prices; the whole report is report.html in the folder."""
        arms: Mapping[str, Any] = self.result["arms"]
        verdicts = "".join(item(self.result, arm) for arm in arms if arm != self.result["reference"])
        scores = rows(["arm", *heads(self.result)], (score_row(self.result, arm) for arm in arms))
        prices = rows(price_heads(self.result), (price_row(name, arm) for name, arm in arms.items()))
        return (
            f"<p>{escape(about(self.result))}</p><ul>{verdicts}</ul><p>{escape(confidence(self.result))}</p>"
            f"<h4>Scores</h4>{scores}<h4>Price</h4>{prices}"
        )


def outcome(folder: str | Path) -> Outcome:
    """What `cdkit compare` left in a folder. UsageError where it left nothing."""
    path = Path(folder) / RESULT
    if not path.is_file():
        raise UsageError(f"{path}: no such file", hint="`cdkit compare SPEC` leaves one in its folder when it is done")
    return Outcome(Path(folder), json.loads(path.read_text(encoding="utf-8")))
