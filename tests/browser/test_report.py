"""The report of a comparison, and the page of an atlas, as a browser opens them from disk."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from browser import browser
from cdkit.build import assemble
from cdkit.conditions import Count
from cdkit.engine.atlas_files import save
from cdkit.model.atlas import explain
from cdkit.spec import read_spec

from .conftest import ROOT, Checked

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
REPORT = ROOT / "docs" / "gallery" / "digits" / "report.html"


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_report_is_clean(tmp_path: Path, checked: Checked, dark: bool) -> None:
    with browser(tmp_path, dark=dark) as window:
        window.open(REPORT.as_uri())
        assert "which way of telling works best" in window.text("h1")
        checked(window)


def test_arms_are_switched_and_slid(tmp_path: Path) -> None:
    with browser(tmp_path) as window:
        window.open(REPORT.as_uri())
        shown = "return [...document.querySelectorAll('.pair')].map((pair) => [...pair.children].map((image) => image.alt))"
        arms = window.run("return [...document.querySelector('#left').options].map((option) => option.value)")
        first = window.run(shown)
        assert len(first) > 1
        window.run(
            "const left = document.querySelector('#left'); left.value = arguments[0]; left.dispatchEvent(new Event('input'))",
            arms[2],
        )
        for (left, right), (_, before) in zip(window.run(shown), first, strict=True):
            assert left.startswith(arms[2])
            assert right == before
        window.run("document.querySelector('#top').focus()")
        window.press("right")
        shares = window.run(
            "return [...document.querySelectorAll('.pair')].map((pair) => getComputedStyle(pair).getPropertyValue('--share'))"
        )
        assert set(shares) == {"51%"}


def test_the_atlas_is_clean_on_a_phone(tmp_path: Path, checked: Checked) -> None:
    torch.manual_seed(0)
    spec = read_spec(ROOT / "specs" / "digits.yaml", overrides=["sampler.steps=2", "backbone.width=16"])
    model = assemble(spec).eval()
    model.ledger.counts["text"] = Count(told=9, silent=1)
    path = save(explain(model, "the digit seven"), tmp_path / "atlas", "a test")[1]
    with browser(tmp_path / "window", width=360, height=760) as window:
        window.open(path.as_uri())
        assert window.run("return document.documentElement.scrollWidth") <= 360
        assert window.run("return [...document.images].every((one) => one.alt && one.naturalWidth)")
        checked(window)
