"""shown: a comparison in a notebook: its arms before it ran, its verdicts and scores after."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cdkit.compare.report import about, confidence, heads, item, price_heads, price_row, rows, score_row
from cdkit.compare.result import differences
from cdkit.errors import UsageError

if TYPE_CHECKING:
    from cdkit.compare.read import Comparison

RESULT = "result.json"


def arms_of(comparison: Comparison) -> str:
    """Every arm, and what it says otherwise than the reference."""
    keys, told = comparison.keys, differences(comparison)
    head = (
        f"{keys.name}: {len(comparison.arms)} arms, {len(keys.seeds)} seeds, matched in {keys.match}, by {comparison.score.use}"
    )
    body = ([arm, "\n".join(told.get(arm, ["the reference"]))] for arm in comparison.arms)
    return f"<p>{escape(head)}</p>{rows(['arm', 'what it says otherwise'], body)}".replace("<td>", "<td style='white-space:pre'>")


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
