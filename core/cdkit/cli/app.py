"""The `cdkit` command. Verbs are listed here with a line of help each and imported only when they are used."""

from __future__ import annotations

import difflib
import sys
from importlib import import_module

import click
from cdkit.cli.failures import handled
from cdkit.version import VERSION

VERBS = {
    "build": "Assemble a spec and prove that every condition reaches the output.",
    "train": "Train a spec, or go on with a run.",
    "graft": "Mount a way of telling on a trained model.",
    "sample": "Draw what is said.",
    "evaluate": "Score a run: is what was said what was drawn?",
    "compare": "Which way of telling works best? Arms under one budget, and a verdict.",
    "claim": "Published findings, tried again: reproduced, contradicted, or nobody can tell.",
    "convert": "Convert a model between runs, diffusers folders and single files.",
    "data": "List, fetch and show data sets.",
    "list": "List the parts that are installed.",
    "plugins": "Show where parts come from, and which cannot be used.",
    "schema": "Print a JSON schema of specs, for editors.",
    "pack": "Make a small run folder to ship: averaged weights in half precision.",
    "doctor": "Examine this installation, or verify a run.",
}


class Verbs(click.Group):
    """A group whose commands live in cdkit.cli.VERB; `--help` imports none of them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            near = difflib.get_close_matches(cmd_name, VERBS, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            ctx.fail(f"no command {cmd_name!r}; {hint}there are {', '.join(VERBS)}")
        command: click.Command = import_module(f"cdkit.cli.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(VERSION, prog_name="cdkit")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def cdkit(debug: bool) -> None:
    """Build, train, sample and compare conditional diffusion U-Nets out of registered parts.

    Exit codes: 0 ok, 2 usage, 3 spec, 4 plugin, 5 data or prompt, 6 checkpoint, 7 environment, 8 numerics, 130 and 143
    after a signal.
    """
    del debug


def main() -> None:
    """The console script."""
    debug = "--debug" in sys.argv
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    sys.exit(handled(lambda: cdkit.main(arguments, prog_name="cdkit", standalone_mode=False), debug=debug))
