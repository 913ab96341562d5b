"""A comparison in a notebook: its arms before it ran, its verdicts after, and no more than what was measured."""

from __future__ import annotations

import json
from html import escape
from pathlib import Path

import pytest
from cdkit.compare.read import read_comparison
from cdkit.compare.shown import outcome
from cdkit.compare.words import sentence
from cdkit.errors import UsageError

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("name", ["animals", "digits", "emoji"])
def test_what_was_found_is_shown(name: str) -> None:
    found = outcome(ROOT / "docs" / "gallery" / name)
    shown = found._repr_html_()
    for arm in found.result["arms"]:
        if arm != found.result["reference"]:
            assert escape(sentence(found.result, arm).strip()) in shown
    assert shown.count("<table") == 2
    assert found.result == json.loads((found.folder / "result.json").read_text(encoding="utf-8"))


def test_arms_are_shown_before_they_ran() -> None:
    comparison = read_comparison(ROOT / "specs" / "compare" / "digits.yaml")
    shown = comparison._repr_html_()
    assert all(f">{arm}</td>" in shown for arm in comparison.arms)
    assert "+- use: film" in shown or "use: film" in shown
    assert shown.count("the reference") == 1


def test_where_nothing_was_found(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        outcome(tmp_path)
