"""The prices on docs/methods/index.md are those that are counted today, and every method of words or maps has one."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest
from cdkit.registry import Registry

METHODS = Path(__file__).parents[2] / "docs" / "methods"
ELSEWHERE = {"decoupled", "hint"}  # two streams; a map of more pixels than the picture


@pytest.mark.slow
def test_prices_are_up_to_date() -> None:
    made = runpy.run_path(str(METHODS / "prices.py"))["table"]()
    assert made in (METHODS / "index.md").read_text(encoding="utf-8"), "run: python docs/methods/prices.py --write"


def test_every_method_has_a_price() -> None:
    page = (METHODS / "index.md").read_text(encoding="utf-8")
    named = {name for name in Registry.installed().names("injector") if f"`{name}`" in page}
    assert named == set(Registry.installed().names("injector")) - ELSEWHERE
