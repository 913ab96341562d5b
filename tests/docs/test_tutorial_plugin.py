"""The tutorial on plugins, followed to the letter by a shell in an environment of its own, ends with a picture."""

from __future__ import annotations

import os
import re
import subprocess
import sysconfig
import venv
from pathlib import Path

import pytest
import torch
from torchvision.io import read_image

PAGE = Path(__file__).parents[2] / "docs" / "tutorial-plugin.md"
BLOCK = re.compile(r"^(?:<!-- (\S+) -->\n)?```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
LONGEST = 15  # lines of code that a plugin takes


def steps() -> list[tuple[str, str, str]]:
    """Every fenced block: the file that it is, if it is one, its language, and its text."""
    return BLOCK.findall(PAGE.read_text(encoding="utf-8"))


def script() -> str:
    """The page as a shell script: what is typed, and files written where the page has you write them."""
    lines = ["set -e"]
    for file, language, text in steps():
        if file:
            lines += [f"cat > {file} <<'END'", text.rstrip(), "END"]
        elif language == "console":
            lines += [line.removeprefix("$ ") for line in text.splitlines()]
    return "\n".join(lines)


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A fresh virtual environment that sees what is installed here, and has a pip of its own."""
    venv.create(tmp_path / "venv", with_pip=True)
    site = Path(sysconfig.get_path("purelib", vars={"base": str(tmp_path / "venv"), "platbase": str(tmp_path / "venv")}))
    (site / "here.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
    for tool in ("cdkit", "pytest"):
        program = tmp_path / "venv" / "bin" / tool
        module = {"cdkit": "cdkit.cli.app", "pytest": "pytest"}[tool]
        program.write_text(f"#!{tmp_path}/venv/bin/python\nimport sys\nfrom {module} import main\nsys.exit(main())\n")
        program.chmod(0o755)
    path = os.pathsep.join((str(tmp_path / "venv" / "bin"), os.environ["PATH"]))
    quiet = {"OMP_NUM_THREADS": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_BUILD_ISOLATION": "1"}
    return {**os.environ, "PATH": path, **quiet}


def test_the_code_is_as_short_as_it_says() -> None:
    [code] = [text for file, language, text in steps() if file and language == "python"]
    assert len([line for line in code.splitlines() if line.strip()]) <= LONGEST


@pytest.mark.slow
def test_followed_to_the_letter_it_ends_with_a_picture(tmp_path: Path, environment: dict[str, str]) -> None:
    done = subprocess.run(
        ["bash", "-c", script()], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=900, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "passed   encoder.letters " in done.stdout
    assert "reaches the output" in done.stdout
    picture = read_image(str(tmp_path / "cdkit-letters" / "drawn" / "grid.png")).float()
    assert float(picture.std()) > 10, "a picture, and no flat grey"
    assert torch.isfinite(picture).all()
