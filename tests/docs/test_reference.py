"""The reference is made from the signatures, and every interface, hook and kind of site is in it."""

from __future__ import annotations

import inspect
import runpy
from pathlib import Path
from typing import Any, get_args

import pytest
from cdkit import hooks, parts

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "parts.md").read_text(encoding="utf-8")
HOOKS = [hook for name, hook in inspect.getmembers(hooks, inspect.isfunction) if name.removeprefix("cdkit_") in hooks.KINDS]
INTERFACES = [name for name in parts.__all__ if inspect.isclass(getattr(parts, name))]


@pytest.fixture(scope="module")
def reference() -> dict[str, Any]:
    return runpy.run_path(str(DOCS / "reference.py"))


@pytest.fixture(scope="module")
def made(reference: dict[str, Any]) -> dict[str, str]:
    return reference["tables"]()


@pytest.mark.parametrize("page", ["specs.md", "parts.md"])
def test_tables_are_up_to_date(page: str, reference: dict[str, Any], made: dict[str, str]) -> None:
    text = (DOCS / page).read_text(encoding="utf-8")
    assert reference["filled"](text, made) == text, "run: python docs/reference.py --write"


def test_every_table_has_its_place(made: dict[str, str]) -> None:
    pages = PAGE + (DOCS / "specs.md").read_text(encoding="utf-8")
    for name in made:
        assert pages.count(f"<!-- reference: {name} -->") == 1, name


def test_a_changed_default_is_noticed(reference: dict[str, Any], made: dict[str, str]) -> None:
    text = (DOCS / "specs.md").read_text(encoding="utf-8")
    changed = {**made, "train": made["train"].replace("`1000`", "`999`")}
    assert reference["filled"](text, changed) != text


def test_every_kind_has_a_hook() -> None:
    assert {hook.__name__.removeprefix("cdkit_") for hook in HOOKS} == set(hooks.KINDS)


@pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: hook.__name__)
def test_hook_is_documented_with_its_arguments(hook: Any) -> None:
    arguments = ", ".join(f"`{name}`" for name in inspect.signature(hook).parameters) or "none"
    kind = hook.__name__.removeprefix("cdkit_")
    assert f"| `{hook.__name__}` | `{kind}.NAME` | {arguments} |" in PAGE


@pytest.mark.parametrize("kind", get_args(parts.SiteKind))
def test_kind_of_site_is_in_the_table(kind: str) -> None:
    assert f"\n| `{kind}` | " in PAGE


@pytest.mark.parametrize("name", INTERFACES)
def test_interface_is_described(name: str) -> None:
    if not issubclass(getattr(parts, name), Exception):
        assert name in PAGE
