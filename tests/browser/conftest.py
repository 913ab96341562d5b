"""What a page is asked in a browser: no complaint, no stranger, nothing that anybody cannot use."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from browser import Browser, missing

ROOT = Path(__file__).parents[2]
AXE = "CDKIT_AXE"  # the folder of the npm package axe-core, instead of what `make slow` installs
SHOWN = "CDKIT_SHOWN"  # a run
FIXTURE = ROOT / "tests" / "fixtures" / "runs" / "schema-1"
PROGRAM = "from cdkit.cli.app import main; main()"  # as the console script has it
Checked = Callable[[Browser], None]


@pytest.fixture(autouse=True, scope="session")
def _there_is_a_browser() -> None:
    if name := missing():
        pytest.skip(f"{name} is not installed (Debian: apt-get install chromium chromium-driver)")


@pytest.fixture(scope="session")
def axe() -> str:
    """axe-core's program."""
    installed = Path(sys.prefix) / "axe" / "node_modules" / "axe-core"
    path = Path(os.environ.get(AXE, installed)) / "axe.min.js"
    if not path.is_file():
        pytest.skip("axe-core is not installed; `make slow` does it")
    return path.read_text(encoding="utf-8")


@pytest.fixture
def checked(axe: str) -> Checked:
    """Axe finds no serious issue, the console is empty, and nothing but this machine was asked."""

    def check(window: Browser) -> None:
        window.run(axe)
        found = window.run("return axe.run().then((result) => result.violations)")
        serious = [(issue["id"], issue["nodes"][0]["html"]) for issue in found if issue["impact"] in ("serious", "critical")]
        assert not serious
        assert not window.complaints()
        strangers = [
            address
            for address in window.addresses()
            if not re.match(r"(http://127\.0\.0\.1:|data:|about:|file:|chrome(-untrusted)?:)", address)
        ]
        assert not strangers

    return check


@contextmanager
def demo(*runs: str) -> Generator[str]:
    """The address of a page that `cdkit demo` serves."""
    command = [sys.executable, "-c", PROGRAM, "demo", *runs, "--no-open", "--device", "cpu"]
    served = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"})
    assert served.stdout is not None
    try:
        yield next(line.strip() for line in served.stdout if line.startswith("http://"))
    finally:
        served.terminate()
        served.wait(30)
        served.stdout.close()


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """The model in the box, and a run of other pictures."""
    with demo("animals", str(FIXTURE)) as served:
        yield served


@pytest.fixture
def shown() -> Iterator[str]:
    """The same, with a run that has learned in the place of the other where one is given: for the pictures of the docs."""
    with demo("animals", os.environ.get(SHOWN, str(FIXTURE))) as served:
        yield served
