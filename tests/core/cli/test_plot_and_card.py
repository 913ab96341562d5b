"""Curves and cards are made of what a run left, and say what is not there."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml
from cdkit.cli.app import cdkit as program
from cdkit.engine.sparkline import sparkline
from click.testing import CliRunner

FIXTURE = Path(__file__).parents[2] / "fixtures" / "runs" / "schema-1"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    path = tmp_path / "schema-1"
    shutil.copytree(FIXTURE, path)
    lines = [json.dumps({"step": step, "loss": 1 / step}) for step in range(1, 201)]
    (path / "metrics.jsonl").write_text("\n".join([*lines, '{"step": 20']), encoding="utf-8")
    return path


def said(*arguments: str) -> str:
    result = CliRunner().invoke(program, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_plot(run: Path, tmp_path: Path) -> None:
    told = said("plot", str(run), "animals", "--out", str(tmp_path / "curves.html"))
    first, second, path = told.splitlines()
    assert "step 200  █" in first
    assert "1 to 0.005, least 0.005" in first
    assert second == "animals: no loss was logged"
    page = Path(path).read_text(encoding="utf-8")
    assert page.count("<polyline") == 1
    assert "default-src 'none'" in page


def test_sparkline() -> None:
    assert sparkline([1.0, 10.0, 100.0]) == "▁▅█"  # the logarithm is even
    assert sparkline([-1.0, 1.0]) == "▁█"
    assert sparkline([3.0, 3.0]) == "▅▅"
    assert len(sparkline([1.0] * 500)) == 50
    assert sparkline([]) == ""


def test_card(run: Path) -> None:
    path = Path(said("card", str(run)).strip())
    assert path == run / "README.md"
    text = path.read_text(encoding="utf-8")
    assert yaml.safe_load(text.split("---")[1])["library_name"] == "cdkit"
    assert "```mermaid\nflowchart" in text
    assert "Not evaluated yet" in text
    assert "Loss, from 1 to 0.005" in text


def test_card_has_the_scores_that_were_measured(run: Path) -> None:
    share = {"share": 0.5, "count": 1, "n": 2, "interval": [0.1, 0.9]}
    report = {"metric": "said_drawn", "model": "m", "scores": [{"guidance": None, "recipe": None, "result": {"drawn": share}}]}
    (run / "evaluation").mkdir()
    (run / "evaluation" / "said_drawn.json").write_text(json.dumps(report), encoding="utf-8")
    assert "drawn  50.00 % [10.00 %, 90.00 %] of 2" in said("card", str(run), "--out", "-")
