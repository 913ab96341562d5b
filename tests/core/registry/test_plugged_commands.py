"""Verbs that plugins bring: named by --help without an import, run, blamed where they fail, kept out where one says so."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cdkit.cli.app import cdkit
from cdkit.errors import PluginError
from click.testing import CliRunner

Distribution = Callable[..., Path]
GREETS = """
import click
from cdkit.hooks import hookimpl

@click.command()
@click.argument("whom")
def greet(whom):
    "Greets."
    click.echo(f"hello, {whom}")

@hookimpl
def cdkit_command():
    return greet
"""


def ask(*line: str) -> str:
    return CliRunner().invoke(cdkit, line, catch_exceptions=False).output


def test_help_names_the_verb_and_imports_nothing_of_it(distribution: Distribution) -> None:
    distribution("cdkit-greet", {"command.greet": "greet_module"}, greet_module=GREETS)
    text = ask("--help")
    assert "Commands of plugins:" in text
    assert "greet  Comes with cdkit-greet==1.0." in " ".join(text.splitlines())
    assert "greet_module" not in sys.modules


def test_without_plugins_help_says_nothing_of_them(distribution: Distribution) -> None:
    distribution("cdkit-greet", {"command.greet": "greet_module"}, greet_module=GREETS)
    assert "greet" not in ask("--no-plugins", "--help")


def test_the_verb_runs_and_has_its_own_help(distribution: Distribution) -> None:
    distribution("cdkit-greet", {"command.greet": "greet_module"}, greet_module=GREETS)
    assert ask("greet", "cats") == "hello, cats\n"
    assert "Greets." in ask("greet", "--help")


def test_what_it_raises_is_blamed_on_its_distribution(distribution: Distribution) -> None:
    distribution("cdkit-greet", {"command.greet": "greet_module"}, greet_module=GREETS.replace("click.echo(", "print(1 / 0)  # "))
    with pytest.raises(PluginError, match=r"^command 'greet' of cdkit-greet==1\.0 failed: ZeroDivisionError: division by zero$"):
        ask("greet", "cats")


def test_one_that_cannot_be_imported_breaks_no_other(distribution: Distribution) -> None:
    distribution("cdkit-torn", {"command.torn": "torn_module"}, torn_module="raise SystemExit(3)\n")
    with pytest.raises(PluginError, match=r"command 'torn' cannot be used: cdkit-torn 1\.0, .*it called sys\.exit\(3\)"):
        ask("torn")
    assert "torn" in ask("--help")
    assert "unet" in ask("list", "backbone")


def test_what_is_no_command_is_refused(distribution: Distribution) -> None:
    distribution("cdkit-odd", {"command.odd": "odd_module"}, odd_module=GREETS.replace("return greet", "return 'greet'"))
    with pytest.raises(PluginError, match=r"cdkit_command returned 'greet'; expected a click\.Command"):
        ask("odd")


def test_verbs_of_cdkit_are_not_taken(distribution: Distribution) -> None:
    distribution("cdkit-thief", {"command.train": "greet_module"}, greet_module=GREETS)
    assert "Comes with cdkit-thief" not in ask("--help")
    assert "command.train = greet_module (refused: cdkit has a command 'train' of its own)" in ask("plugins")


def test_a_near_name_is_offered(distribution: Distribution) -> None:
    distribution("cdkit-greet", {"command.greet": "greet_module"}, greet_module=GREETS)
    out = CliRunner().invoke(cdkit, ["gret"])
    assert out.exit_code == 2
    assert "no command 'gret'; did you mean 'greet' (cdkit-greet==1.0)?" in out.output


@pytest.mark.parametrize(("options", "left"), [(["--no-plugins"], set()), (["--no-plugin", "Cdkit_A"], {"b"}), ([], {"a", "b"})])
def test_plugins_are_kept_out_for_one_command(
    options: list[str], left: set[str], distribution: Distribution, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CDKIT_PLUGINS", raising=False)
    distribution("cdkit-a", {"metric.a": "a_module"})
    distribution("cdkit-b", {"metric.b": "b_module"})
    rows = ask(*options, "list", "metric").split()
    assert {name for name in ("a", "b") if name in rows} == left
    assert "CDKIT_PLUGINS" not in os.environ
    assert "CDKIT_NO_PLUGIN" not in os.environ


def test_the_option_adds_to_what_the_environment_bars(distribution: Distribution, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CDKIT_NO_PLUGIN", "cdkit-a")
    distribution("cdkit-a", {"metric.a": "a_module"})
    distribution("cdkit-b", {"metric.b": "b_module"})
    text = ask("--no-plugin", "cdkit-b", "plugins")
    assert "metric.a = a_module (shut out: CDKIT_NO_PLUGIN bars cdkit-a, cdkit-b)" in text
    assert os.environ["CDKIT_NO_PLUGIN"] == "cdkit-a"
