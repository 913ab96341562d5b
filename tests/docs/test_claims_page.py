"""The page of claims is made of the claims' files and of outcomes, and each outcome is of the file as it is."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest
from cdkit.compare.claim import find_claim

DOCS = Path(__file__).parents[2] / "docs"
OUTCOMES = sorted((DOCS / "outcomes").glob("*.json"))


def test_tables_are_up_to_date() -> None:
    text = (DOCS / "claims.md").read_text(encoding="utf-8")
    assert runpy.run_path(str(DOCS / "claims.py"))["filled"](text) == text, "run: python docs/claims.py --write"


def test_five_claims_were_tried() -> None:
    tried = {path.stem.rpartition("-")[0] for path in OUTCOMES if not path.stem.endswith("-tiny")}
    assert len(tried) >= 5


@pytest.mark.parametrize("path", OUTCOMES, ids=lambda path: path.stem)
def test_an_outcome_is_of_the_file_as_it_is(path: Path) -> None:
    made = json.loads(path.read_text(encoding="utf-8"))
    claim = find_claim(made["claim"])
    assert path.stem == f"{made['claim']}-{made['scale']}"
    assert made["digest"] == claim.digest, "the claim was changed after it was tried: try it again, and say so in claims.md"
    assert {arm: (each["sign"], each["threshold"]) for arm, each in made["expect"].items()} == {
        arm: (each.sign, each.threshold) for arm, each in claim.expect.items()
    }
    for arm, expected in claim.expect.items():
        assert made["expect"][arm]["outcome"] == expected.outcome(made["expect"][arm])
