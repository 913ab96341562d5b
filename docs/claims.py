"""Writes the tables of claims.md: the claims that are installed, and the outcomes in docs/outcomes, as `cdkit claim` left them.

python docs/claims.py --write
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

from cdkit.compare.claim import find_claim
from cdkit.compare.words import interval
from cdkit.registry import Registry

DOCS = Path(__file__).parent
PAGE = DOCS / "claims.md"
OUTCOMES = DOCS / "outcomes"
BLOCK = re.compile(r"<!-- (claims|outcomes) -->\n.*?(?=\n## |\Z)", re.DOTALL)


def claims() -> str:
    """A row a claim."""
    registry = Registry.installed()
    rows = ["| claim | says | source, and its finding | here | expected |", "|---|---|---|---|---|"]
    for name in registry.names("claim"):
        claim = find_claim(name, registry)
        said, expected = claim.keys, "; ".join(f"`{arm}` {each.words()}" for arm, each in claim.expect.items())
        rows.append(f"| `{name}` | {said.says} | {said.paper}: {said.found} | {said.here} | {expected} |")
    return "\n".join(rows) + "\n"


def outcomes() -> str:
    """A row a run and arm, those of one claim together."""
    rows = [
        "| command | outcome | score | arm against reference | difference for the better | seeds | machine, date | file |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for path in sorted(OUTCOMES.glob("*.json")):
        made = json.loads(path.read_text(encoding="utf-8"))
        rows += [row(made, arm, found) for arm, found in made["expect"].items()]
    return "\n".join(rows) + "\n"


def row(made: dict[str, Any], arm: str, found: dict[str, Any]) -> str:
    cells = [
        f"`cdkit claim run {made['claim']} --scale {made['scale']}`",
        f"**{found['outcome']}**",
        f"`{made['score']}`",
        f"`{arm}` {found['score']:.4g}, `{made['reference']}` {made['reference_score']:.4g}",
        interval(found),
        str(found["seeds"]),
        f"{made['machine']}, {made['date'][:10]}",
        f"`{made['digest'][:12]}`",
    ]
    return f"| {' | '.join(cells)} |"


def filled(text: str) -> str:
    """The page with its tables as they are now."""
    made = {"claims": claims(), "outcomes": outcomes()}
    return BLOCK.sub(lambda found: f"<!-- {found[1]} -->\n{made[found[1]]}", text)


if __name__ == "__main__":
    page = filled(PAGE.read_text(encoding="utf-8"))
    if "--write" in sys.argv:
        PAGE.write_text(page, encoding="utf-8")
    else:
        print(page)
