"""Every spec is drawn in the docs, as it is now."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

DOCS = Path(__file__).parents[2] / "docs"
SMALL = ("combined", "digits", "seed_unconditional")


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    return runpy.run_path(str(DOCS / "drawings.py"))


def test_every_spec_is_shown(script: dict[str, Any]) -> None:
    page = (DOCS / "drawings.md").read_text(encoding="utf-8")
    assert page.startswith(script["HEAD"])
    for name in script["names"]():
        assert f"](drawings/{name}.svg)" in page, "run: python docs/drawings.py --write"


def check(script: dict[str, Any], name: str) -> None:
    made = script["drawing"](name)
    assert (DOCS / "drawings" / f"{name}.svg").read_text(encoding="utf-8") == script["svg"](made), (
        "python docs/drawings.py --write"
    )
    assert script["section"](name, made) in (DOCS / "drawings.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", SMALL)
def test_drawing_is_up_to_date(name: str, script: dict[str, Any]) -> None:
    check(script, name)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(path.stem for path in (DOCS.parent / "specs").glob("*.yaml") if path.stem not in SMALL))
def test_other_drawing_is_up_to_date(name: str, script: dict[str, Any]) -> None:
    check(script, name)
