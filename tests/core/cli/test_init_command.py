"""cdkit init: a first spec that reads, the schema beside it, and one line more in specs that are there already."""

from __future__ import annotations

import json
from pathlib import Path

from cdkit.cli.app import cdkit
from cdkit.cli.init import LINE, SCHEMA
from cdkit.spec import read_spec
from click.testing import CliRunner


def init(folder: Path) -> list[str]:
    out = CliRunner().invoke(cdkit, ["init", str(folder)], catch_exceptions=False)
    assert out.exit_code == 0
    return out.output.splitlines()


def test_an_empty_folder_gets_a_first_spec_and_the_schema(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    said = init(folder)
    assert said == [f"wrote {folder / SCHEMA}", f"wrote {folder / 'digits.yaml'}; train it: cdkit train {folder / 'digits.yaml'}"]
    assert (folder / "digits.yaml").read_text(encoding="utf-8").startswith(LINE)
    assert read_spec(folder / "digits.yaml").name == "digits"
    schema = json.loads((folder / SCHEMA).read_text(encoding="utf-8"))
    assert "backbone" in schema["properties"]


def test_specs_that_are_there_get_one_line_and_nothing_else_changes(tmp_path: Path) -> None:
    init(tmp_path)
    mine = (tmp_path / "digits.yaml").rename(tmp_path / "mine.yaml")
    text = mine.read_text(encoding="utf-8").removeprefix(LINE)
    mine.write_text(text, encoding="utf-8")
    other = tmp_path / "workflow.yaml"
    other.write_text("on: push\n", encoding="utf-8")
    assert f"{mine}: its first line tells editors of the schema" in init(tmp_path)
    assert mine.read_text(encoding="utf-8") == LINE + text
    assert other.read_text(encoding="utf-8") == "on: push\n"
    assert init(tmp_path) == [f"wrote {tmp_path / SCHEMA}"]
    assert mine.read_text(encoding="utf-8") == LINE + text
    assert not (tmp_path / "digits.yaml").exists()
