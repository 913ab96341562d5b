"""What docs/budgets.md says of the counted axes is what is counted today, and nothing there is off by more than it may."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "budgets.md").read_text(encoding="utf-8")


def deviations(mark: str) -> list[float]:
    """Every deviation in a table of the page, in per cent."""
    found = re.search(rf"<!-- {mark} -->(.*?)<!-- /{mark} -->", PAGE, re.DOTALL)
    assert found
    return [abs(float(value)) for value in re.findall(r"([+-]?\d+\.\d\d)%", found[1])]


@pytest.mark.slow
def test_the_counted_table_is_up_to_date() -> None:
    made = runpy.run_path(str(DOCS / "budgets.py"))["counted"]()
    assert made in PAGE, "run: python docs/budgets.py --write"


@pytest.mark.parametrize(("mark", "columns", "limit"), [("counted", 4, 1.0), ("measured", 1, 5.0)])
def test_no_arm_is_off_by_more_than_it_may(mark: str, columns: int, limit: float) -> None:
    found = deviations(mark)
    assert len(found) == columns * (6 + 1), "six arms, and the farthest"
    assert max(found) <= limit
