"""cdkit list and cdkit plugins: what they print, what they import, and a plugin that kills its process."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cdkit.cli.list import command as list_command
from cdkit.cli.plugins import command as plugins_command
from cdkit.errors import PluginError, UsageError
from click.testing import CliRunner

Distribution = Callable[..., Path]
METRIC = """
from cdkit.hooks import hookimpl

def make(*, pictures: int = 100):
    "Counts pictures."

@hookimpl
def cdkit_metric():
    return make
"""


def test_list_says_who_provides_what(distribution: Distribution) -> None:
    distribution("cdkit-counted", {"metric.counted": "counted_module"}, counted_module="raise SystemExit\n")
    out = CliRunner().invoke(list_command, ["metric"])
    assert out.exit_code == 0
    assert out.output.splitlines()[0] == "metric"
    assert any(line.split() == ["counted", "cdkit-counted==1.0"] for line in out.output.splitlines())
    rows = json.loads(CliRunner().invoke(list_command, ["--json"]).output)
    assert {"kind": "metric", "name": "counted", "provider": "cdkit-counted==1.0"} in rows
    assert "counted_module" not in sys.modules


def test_list_knows_its_kinds() -> None:
    out = CliRunner().invoke(list_command, ["metrics"])
    assert out.exit_code == 2
    assert "'metrics' is not one of 'encoder', 'injector'" in out.output


@pytest.mark.parametrize("line", ["list", "plugins"])
def test_listing_imports_no_plugin_and_nothing_heavy(line: str) -> None:
    code = (
        "import sys\nfrom importlib import import_module\n"
        f"import_module('cdkit.cli.{line}').command.main(['--json'], standalone_mode=False)\n"
        "heavy = {'torch', 'numpy', 'pydantic', 'yaml', 'transformers', 'PIL'} & set(sys.modules)\n"
        "print(sorted(heavy | {name for name in sys.modules if name.startswith('cdkit_')}))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_plugins_lists_every_entry_point_and_what_keeps_it_from_use(
    distribution: Distribution, monkeypatch: pytest.MonkeyPatch
) -> None:
    distribution("cdkit-listed", {"metric.listed": "listed_module", "metrik.odd": "listed_module"}, version="0.4")
    out = CliRunner().invoke(plugins_command, [])
    block = out.output[out.output.index("cdkit-listed 0.4") :].splitlines()
    assert block[1] == "  metric.listed = listed_module (installed)"
    assert block[2].startswith("  metrik.odd = listed_module (refused: there is no kind 'metrik'; the kinds are encoder, ")
    monkeypatch.setenv("CDKIT_PLUGINS", "")
    out = CliRunner().invoke(plugins_command, ["list"])
    assert "metric.listed = listed_module (shut out: CDKIT_PLUGINS admits no plugin)" in out.output


def test_show_prints_options_provider_and_place(distribution: Distribution) -> None:
    folder = distribution("cdkit-shown", {"metric.shown": "shown_module"}, shown_module=METRIC)
    out = CliRunner().invoke(plugins_command, ["show", "metric.shown"])
    assert out.output.splitlines() == [
        "metric.shown  cdkit-shown==1.0",
        f"  {folder / 'shown_module.py'}:4",
        "  Counts pictures.",
        "  pictures: int = 100",
    ]
    found = json.loads(CliRunner().invoke(plugins_command, ["show", "metric.shown", "--json"]).output)
    assert found["options"] == {"pictures": {"type": "int", "default": 100}}
    assert found["module"] == "shown_module"


def test_show_prints_the_traceback_of_a_plugin_that_fails(distribution: Distribution) -> None:
    distribution("cdkit-torn", {"metric.torn": "torn_module"}, torn_module="def deep():\n    raise OSError('torn')\ndeep()\n")
    out = CliRunner().invoke(plugins_command, ["show", "metric.torn"])
    assert isinstance(out.exception, PluginError)
    assert "Traceback (most recent call last)" in out.stderr
    assert "in deep" in out.stderr
    with pytest.raises(UsageError, match=r"'unet' is no KIND\.NAME"):
        CliRunner().invoke(plugins_command, ["show", "unet"], catch_exceptions=False)


def test_check_outlives_a_plugin_that_kills_its_process(distribution: Distribution, monkeypatch: pytest.MonkeyPatch) -> None:
    killer = "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n"
    folder = distribution(
        "cdkit-crash", {"metric.crash": "crash_module", "metric.sane": "sane_module"}, crash_module=killer, sane_module=METRIC
    )
    monkeypatch.setenv("PYTHONPATH", str(folder))
    out = CliRunner().invoke(plugins_command, ["check", "metric.crash", "metric.sane"])
    assert out.output.splitlines() == [
        "FAILED metric.crash: its import killed the process with SIGSEGV",
        "ok     metric.sane",
    ]
    assert isinstance(out.exception, PluginError)
    assert str(out.exception) == "1 of 2 parts cannot be loaded: metric.crash"
