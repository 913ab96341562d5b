"""Every method has its price, counted today and measured once, in the table and on a page of its own."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest
from cdkit.registry import Registry

METHODS = Path(__file__).parents[2] / "docs" / "methods"
TABLE = (METHODS / "index.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def prices() -> dict[str, Any]:
    return runpy.run_path(str(METHODS / "prices.py"))


@pytest.mark.slow
def test_prices_are_up_to_date(prices: dict[str, Any]) -> None:
    """What is counted, on every page; the times are those that the table has, for no test measures the same ones again."""
    for path, text in prices["pages"](prices["kept"](TABLE)).items():
        assert path.read_text(encoding="utf-8") == text, f"{path.name}: run `python docs/methods/prices.py --write`"


@pytest.mark.parametrize("name", ["film", "concat", "size, add"])
def test_a_price_is_what_is_counted(name: str, prices: dict[str, Any]) -> None:
    """The same of a few, every time: in the table, and on the method's own page."""
    time = prices["kept"](TABLE)[name]
    page = (METHODS / f"{prices['METHODS'][name].page}.md").read_text(encoding="utf-8")
    assert prices["row"](name, time) in TABLE.splitlines()
    assert f"<!-- price -->\n{prices['line'](name, time)}<!-- /price -->" in page


def test_a_price_is_the_closed_form(prices: dict[str, Any]) -> None:
    """`add` is one Linear of P = 256 and the time's width 4 x 64, `size` six times 256 wide."""
    assert prices["added"]("add").taps == 256 * 256 + 256
    assert prices["added"]("size, add").taps == 6 * 256 * 256 + 256
    assert prices["added"]("size, add").prepare == 6 * 256 * 256


def test_every_method_has_a_price(prices: dict[str, Any]) -> None:
    priced = {name for row in prices["METHODS"] for name in row.split(", ")}
    assert set(Registry.installed().names("injector")) <= priced


def test_every_price_has_milliseconds(prices: dict[str, Any]) -> None:
    times = prices["kept"](TABLE)
    assert set(times) == {"U-Net", *prices["METHODS"]}
    for name, time in times.items():
        assert time.step > time.call > 0, f"{name}: a step is forward and backward, a call is forward alone"
        assert 0.5 < time.call_ratio < 5, name
        assert 0.5 < time.step_ratio < 5, name
    assert "<!-- measured -->\nMeasured on " in TABLE


def test_a_missing_time_is_noticed(prices: dict[str, Any]) -> None:
    line = next(line for line in TABLE.splitlines() if "(film.md) | text" in line)
    kept = prices["kept"](TABLE.replace(line, line.rsplit(" | ", 2)[0] + " |  |  |"))
    with pytest.raises(KeyError, match="film"):
        prices["table"](kept)
