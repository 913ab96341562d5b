"""cdkit evaluate's own part: what it reads from the command line, and where its reports go."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from cdkit.cli.evaluate import Scales, command, folder_of
from click.testing import CliRunner


@pytest.mark.parametrize(("text", "scales"), [("1", (1.0,)), ("1,1.5,2", (1.0, 1.5, 2.0)), ("0.5, 3", (0.5, 3.0))])
def test_scales_are_numbers_with_commas(text: str, scales: tuple[float, ...]) -> None:
    assert Scales().convert(text, None, None) == scales


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--guidance", "1,high"], "'1,high' is no list of numbers; expected one like 1,1.5,2"),
        (["--split", "train"], "'train' is not one of 'validation', 'test'"),
        (["--pictures", "0"], "0 is not in the range x>=1"),
    ],
)
def test_a_wrong_option_is_named(arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(command, ["run", *arguments])
    assert result.exit_code == 2
    assert message in result.output


def test_reports_lie_in_the_run_and_those_of_a_shipped_model_at_hand(tmp_path: Path) -> None:
    assert folder_of(str(tmp_path)) == tmp_path / "evaluation"
    assert folder_of("animals") == Path("evaluation/animals")


def test_help_needs_no_torch() -> None:
    code = "import sys, cdkit.cli.evaluate; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
