from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from cdkit.cli.data import command
from cdkit.errors import CdkitError, DataError, UsageError
from click.testing import CliRunner, Result
from PIL import Image


def run(*arguments: str) -> Result:
    result = CliRunner().invoke(command, arguments)
    if isinstance(result.exception, CdkitError):
        raise result.exception
    return result


def test_list_names_every_set() -> None:
    found = json.loads(run("list", "--json").output)
    assert {"animals", "digits", "fashion", "folder", "shapes"} <= set(found)
    assert found["digits"]["about"].startswith("1,797 handwritten digits")
    assert found["digits"]["provider"].startswith("cdkit==")
    assert "digits" in run("list").output


def test_show_says_what_there_is_and_draws_it(tmp_path: Path) -> None:
    out = tmp_path / "new" / "grid.png"
    about = json.loads(run("show", "digits", "--out", str(out), "--json").output)
    assert about["splits"] == {"train": 1435, "validation": 181, "test": 181}
    assert about["classes"][3] == "three"
    with Image.open(out) as grid:
        assert grid.width > 8 * 64
        assert grid.width / grid.height == pytest.approx(8 / 3, rel=0.1)
    printed = run("show", "digits", "--split", "test", "--n", "4").output
    assert "1,435 train, 181 validation, 181 test" in printed
    assert "数字" in printed


def test_show_takes_options() -> None:
    about = json.loads(run("show", "shapes", "--set", "count=20", "--set", "objects=1", "--set", "size=16", "--json").output)
    assert about["shape"] == [3, 16, 16]
    assert about["splits"] == {"train": 16, "validation": 2, "test": 2}


def test_wrong_options_are_the_command_lines_fault(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"shapes: .*'colour'"):
        run("show", "shapes", "--set", "colour=3")
    with pytest.raises(UsageError, match="--set path: expected KEY=VALUE"):
        run("show", "folder", "--set", "path")
    with pytest.raises(DataError, match="there is no such folder"):
        run("show", "folder", "--set", f"path={tmp_path / 'none'}")
    with pytest.raises(CdkitError, match="animal"):
        run("show", "animal")


def test_fetching_what_is_bundled_needs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CDKIT_CACHE", str(tmp_path))
    assert "digits is ready" in run("fetch", "digits").output
    assert not list(tmp_path.iterdir())


def test_help_imports_no_torch() -> None:
    code = "import sys, cdkit.cli.data; sys.exit('torch' in sys.modules or 'PIL' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
