"""Inspection outlives what it inspects: a check that kills its process, or never ends, is a row like any other."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import pytest
from cdkit.testing.conformance import Row
from cdkit.testing.inspection import inspected

METRIC = """
import os, signal, time
from dataclasses import dataclass
from cdkit.hooks import Trial, hookimpl
from cdkit.parts import Metric
{top}

@dataclass(frozen=True)
class Count(Metric):
    pictures: int = 10

    def __post_init__(self):
        {made}

    def __call__(self, examinee):
        return {{"pictures": self.pictures}}

@hookimpl
def cdkit_metric():
    return Count
{more}
"""
TRIAL = '\n@hookimpl\ndef cdkit_trial():\n    return Trial(exceptions={"figures": "a slip"})\n'
CASES = {
    "kills": ("", "os.kill(os.getpid(), signal.SIGSEGV)", ""),
    "exits": ("", "os._exit(3)", ""),
    "hangs": ("", "time.sleep(600)", ""),
    "patches": ("import torch\ntorch.relu = lambda x: x", "pass", ""),
    "prints": ("print('welcome')", "print('made')", ""),
    "slips": ("", "pass", TRIAL),
    "sane": ("", "pass", ""),
}
PINNED = "cdkit-pinned"


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two distributions that another process finds."""

    def install(dist: str, names: Iterable[str], needs: str) -> None:
        info = tmp_path / f"{dist.replace('-', '_')}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {dist}\nVersion: 1.0\n{needs}")
        lines = "".join(f"metric.{name} = inspected_{name}\n" for name in names)
        (info / "entry_points.txt").write_text(f"[cdkit]\n{lines}")

    for name, (top, made, more) in {**CASES, "pinned": CASES["sane"]}.items():
        (tmp_path / f"inspected_{name}.py").write_text(METRIC.format(top=top, made=made, more=more))
    install("cdkit-strange", CASES, "")
    install(PINNED, ["pinned"], "Requires-Dist: torch==2.10.0\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(tmp_path), os.environ.get("PYTHONPATH", ""))))
    monkeypatch.syspath_prepend(str(tmp_path))


@pytest.mark.slow
@pytest.mark.usefixtures("installed")
def test_each_fault_is_a_row_and_the_rest_goes_on() -> None:
    rows = list(inspected([f"metric.{name}" for name in [*CASES, "pinned"]], longest=20))
    failed = {row.part.removeprefix("metric."): row for row in rows if row.outcome == "failed"}
    assert (failed["kills"].check, failed["kills"].said) == ("options", "it killed the process with SIGSEGV")
    assert (failed["exits"].check, failed["exits"].said) == ("options", "it ended the process with status 3")
    assert (failed["hangs"].check, failed["hangs"].said) == ("options", "it took more than 20 s and was ended")
    assert failed["patches"].check == "load"
    assert "torch.relu" in failed["patches"].said
    assert failed["slips"] == Row(
        "metric.slips", "trial", "failed", "no check is called figures; the checks are options, copies, figure"
    )
    assert failed["pinned"].check == "load"
    assert failed["pinned"].said.startswith("cdkit-pinned requires torch==2.10.0, which lets pip replace an installed torch")
    assert "sane" not in failed
    assert [row.check for row in rows if row.part == "metric.sane"] == ["load", "options", "copies", "figure"]
    assert "prints" not in failed, "what it prints goes to stderr and spoils no row"
