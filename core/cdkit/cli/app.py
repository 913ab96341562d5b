"""The `cdkit` command. Verbs are listed here with a line of help each and imported only when they are used."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from importlib import import_module
from io import TextIOWrapper

import click
from cdkit.cli.failures import handled, let_go_of_stdout
from cdkit.version import VERSION

VERBS = {
    "build": "Assemble a spec and prove that every condition reaches the output.",
    "train": "Train a spec, or go on with a run.",
    "graft": "Mount a way of telling on a trained model.",
    "sample": "Draw what is said.",
    "explain": "Where each word of a prompt acts in the picture.",
    "evaluate": "Score a run: is what was said what was drawn?",
    "compare": "Which way of telling works best? Arms under one budget, and a verdict.",
    "bench": "What a model takes on this machine, plainly and hastened.",
    "claim": "Published findings, tried again: reproduced, contradicted, or nobody can tell.",
    "convert": "Convert a model between runs, diffusers folders and single files.",
    "plan": "What a training on many GPUs would take: memory, days, traffic, failures.",
    "data": "List, fetch and show data sets.",
    "list": "List the parts that are installed.",
    "plugins": "Show where parts come from, and which cannot be used.",
    "init": "A folder in which an editor knows specs.",
    "spec": "Fill, show, compare and explain specs.",
    "deps": "What a spec needs, and what to install of it.",
    "schema": "Print a JSON schema of specs, for editors.",
    "pack": "Make a small run folder to ship: averaged weights in half precision.",
    "plot": "How the losses of runs went.",
    "card": "A model card, out of what a run left.",
    "runs": "The runs in a folder, listed, verified and made smaller.",
    "doctor": "Examine this installation, or verify a run.",
}


class Verbs(click.Group):
    """A group whose commands live in cdkit.cli.VERB, and in plugins; `--help` imports none of them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return [*VERBS, *plugged()]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in VERBS:
            command: click.Command = import_module(f"cdkit.cli.{cmd_name}").command
            return command
        verbs = self.list_commands(ctx)
        if cmd_name not in verbs:
            ctx.fail(f"no command {cmd_name!r}{meant(cmd_name, verbs) or ';'} there are {', '.join(verbs)}")
        return taken(cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))
        if theirs := plugged():
            with formatter.section("Commands of plugins"):
                formatter.write_dl([(verb, f"Comes with {provider}.") for verb, provider in theirs.items()])

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # before click makes a failure of it: who stops reading has read enough
            let_go_of_stdout()
            ctx.exit(0)
        except Exception as error:
            if ctx.invoked_subcommand in (None, *VERBS):
                raise
            raise blamed(ctx.invoked_subcommand or "", error) from error


def plugged() -> dict[str, str]:
    """The verbs that plugins bring, each with its distribution; read from metadata alone."""
    from cdkit.registry import Registry

    registry = Registry.installed()
    return {name: registry.provider("command", name) for name in registry.names("command")}


def taken(verb: str) -> click.Command:
    """A plugin's verb, imported now. PluginError that says why it cannot be."""
    from cdkit.registry import Registry

    command: click.Command = Registry.installed().get("command", verb)
    return command


def meant(verb: str, verbs: list[str]) -> str:
    """`; did you mean 'greet' (dist==1.0)?`: which verb, and whose."""
    from cdkit.registry.names import did_you_mean

    theirs = plugged()
    return did_you_mean(verb, verbs, lambda near: theirs.get(near, f"cdkit=={VERSION}"))


def blamed(verb: str, error: Exception) -> Exception:
    """What a plugin's verb raised: as it is where it was meant for people, else an error that names the plugin."""
    from cdkit.errors import CdkitError, PluginError
    from cdkit.registry.load import described

    if isinstance(error, (CdkitError, click.ClickException, click.exceptions.Exit, click.Abort, OSError)):
        return error
    hint = "`--debug` shows where; tell the plugin's author"
    return PluginError(f"command {verb!r} of {plugged()[verb]} failed: {described(error)}", hint=hint)


def shut(variable: str) -> Callable[[click.Context, click.Parameter, object], None]:
    """What an option that keeps plugins out does: the registry, and every process that is started from here, reads it there."""

    def keep_out(ctx: click.Context, parameter: click.Parameter, value: object) -> None:
        del parameter
        if value is False or value == ():
            return
        names = ",".join(value) if isinstance(value, tuple) else ""
        before = os.environ.get(variable)
        os.environ[variable] = names if before is None or not names else f"{before},{names}"
        ctx.call_on_close(lambda: restore(variable, before))

    return keep_out


def restore(variable: str, value: str | None) -> None:
    os.environ.pop(variable, None)
    if value is not None:
        os.environ[variable] = value


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(VERSION, prog_name="cdkit")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.option(
    "--no-plugins",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=shut("CDKIT_PLUGINS"),
    help="Do without plugins.",
)
@click.option(
    "--no-plugin",
    metavar="NAME",
    multiple=True,
    is_eager=True,
    expose_value=False,
    callback=shut("CDKIT_NO_PLUGIN"),
    help="Do without this distribution's parts.",
)
def cdkit(debug: bool) -> None:
    """Build, train, sample and compare conditional diffusion U-Nets out of registered parts.

    Exit codes: 0 ok, 2 usage, 3 spec, 4 plugin, 5 data or prompt, 6 checkpoint, 7 environment, 8 numerics, 130 and 143
    after a signal.
    """
    del debug


def main() -> None:
    """The console script."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a locale that cannot print a prompt is no reason to stop
    debug = "--debug" in sys.argv
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    sys.exit(handled(lambda: cdkit.main(arguments, prog_name="cdkit", standalone_mode=False), debug=debug))
