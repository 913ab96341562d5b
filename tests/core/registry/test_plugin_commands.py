"""cdkit list and cdkit plugins: what they print, what they import, and a plugin that kills its process."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from cdkit.cli.list import command as list_command
from cdkit.cli.plugins import command as plugins_command
from cdkit.errors import PluginError, UsageError
from cdkit.parts import TextEncoder
from cdkit.registry import Registry
from cdkit.registry.describe import describe, where
from cdkit.spec import read_spec
from click.testing import CliRunner

SPECS = Path(__file__).parents[3] / "specs"

Distribution = Callable[..., Path]
SANE = """
from dataclasses import dataclass
from cdkit.hooks import hookimpl
from cdkit.parts import Metric

@dataclass(frozen=True)
class Count(Metric):
    pictures: int = 100

    def __call__(self, examinee):
        return {"pictures": self.pictures}

@hookimpl
def cdkit_metric():
    return Count
"""
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
        "in a spec:",
        "  evaluate:",
        "    - {use: shown}",
    ]
    assert CliRunner().invoke(plugins_command, ["show", "shown"]).output == out.output
    found = json.loads(CliRunner().invoke(plugins_command, ["show", "metric.shown", "--json"]).output)
    assert found["options"] == {"pictures": {"type": "int", "default": 100}}
    assert found["module"] == "shown_module"


def test_what_is_described_of_parts_of_every_origin(distribution: Distribution) -> None:
    """Installed, in memory, a verb, a folder; and code whose source nobody has."""
    distribution("cdkit-shown", {"metric.shown": "shown_module"}, shown_module=METRIC)
    registry = Registry.installed().extended(
        {("metric", "mine"): Here, ("run", "mine"): Path("runs/x"), ("format", "mine"): Here}
    )  # pyright: ignore[reportArgumentType]
    installed = describe(registry, "metric", "shown")
    assert (installed["module"], installed["doc"]) == ("shown_module", "Counts pictures.")
    assert installed["milliseconds"] > 0
    mine = describe(registry, "metric", "mine")
    assert (mine["module"], mine["provider"], mine["milliseconds"], mine["doc"]) == (__name__, "in-memory", None, "Of this file.")
    assert re.fullmatch(rf"{re.escape(__file__)}:\d+", mine["where"])
    assert mine["options"] == {"size": {"type": "int"}, "share": {"type": "float", "default": 0.5}}
    folder = describe(registry, "run", "mine")
    assert (folder["where"], folder["doc"], folder["options"], folder["written"]) == ("runs/x", "", {}, "")
    assert describe(registry, "format", "mine")["written"] == "", "no spec names a format"


@pytest.mark.parametrize("code", [len, type("Made", (), {"__module__": "builtins"})])
def test_where_nobody_has_the_source_no_place_is_told(code: object) -> None:
    assert where(code) == ""


class Here:
    """Of this file."""

    def __init__(self, size: int, *, share: float = 0.5) -> None: ...


def test_show_prints_the_traceback_of_a_plugin_that_fails(distribution: Distribution) -> None:
    distribution("cdkit-torn", {"metric.torn": "torn_module"}, torn_module="def deep():\n    raise OSError('torn')\ndeep()\n")
    out = CliRunner().invoke(plugins_command, ["show", "metric.torn"])
    assert isinstance(out.exception, PluginError)
    assert "Traceback (most recent call last)" in out.stderr
    assert "in deep" in out.stderr


@pytest.mark.parametrize(
    ("name", "message", "hint"),
    [
        ("unett", r"there is no part 'unett'; did you mean 'unet' \(cdkit==.*\)\?", r"`cdkit list` shows them all"),
        ("animals", r"'animals' is dataset and run", r"say which: dataset\.animals or run\.animals"),
    ],
)
def test_show_asks_back_where_a_name_does_not_say_which(name: str, message: str, hint: str) -> None:
    with pytest.raises(UsageError, match=message) as raised:
        CliRunner().invoke(plugins_command, ["show", name], catch_exceptions=False)
    assert re.search(hint, raised.value.hint)


BASE = """
cdkit: 1
name: page
sample: {channels: 1, height: 8, width: 8}
"""


@pytest.mark.parametrize(
    "kind", ["encoder", "injector", "backbone", "sampler", "guider", "approximation", "dataset", "metric", "callback"]
)
def test_what_show_writes_reads(kind: str) -> None:
    """Laid into a spec of ours, what is shown for each of our parts is that part; only placeholders have to be filled."""
    registry = Registry.installed()
    for name in registry.names(kind):
        written = describe(registry, kind, name)["written"]
        assert f"use: {name}" in written
        if "<" in written:
            continue
        over = yaml.safe_load(written)
        base = {**yaml.safe_load((SPECS / "digits.yaml").read_text(encoding="utf-8")), **over}
        if kind == "encoder" and not issubclass(registry.get(kind, name), TextEncoder):
            base |= {"injectors": [{"use": "add", "streams": ["text"]}], "train": None}
        read = read_spec(yaml.safe_dump(base, sort_keys=False))
        assert f"{kind}.{name}" in read.provenance


def test_check_outlives_a_plugin_that_kills_its_process(distribution: Distribution, monkeypatch: pytest.MonkeyPatch) -> None:
    killer = "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n"
    folder = distribution(
        "cdkit-crash", {"metric.crash": "crash_module", "metric.sane": "sane_module"}, crash_module=killer, sane_module=SANE
    )
    monkeypatch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)
    out = CliRunner().invoke(plugins_command, ["check", "cdkit-crash"])
    lines = out.output.splitlines()
    assert re.fullmatch(r"failed   metric.crash +1 failed, .* s", lines[0])
    assert lines[1] == (
        "    failed load: cdkit-crash 1.0, entry point metric.crash = crash_module: "
        f"its import killed the process with SIGSEGV ({folder / 'crash_module.py'}:2)"
    )
    assert re.fullmatch(r"passed   metric.sane +4 passed, .* s", lines[2])
    assert len(lines) == 3
    assert isinstance(out.exception, PluginError)
    assert str(out.exception) == "1 of 2 parts fail: metric.crash"
