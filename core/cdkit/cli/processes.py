"""--procs and what goes with it: the options of verbs that several processes can share."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click
from cdkit.cli.words import words_of

Verb = TypeVar("Verb", bound=Callable[..., Any])
OWN = ("procs", "nnodes", "node_rank", "rdzv", "max_restarts")


def kept(context: click.Context, parameter: click.Parameter, value: Any) -> None:
    """What an option says, for `launched`: the verb itself never hears of it."""
    context.meta[f"{__name__}.{parameter.name}"] = value


def option(name: str, kind: Any, about: str, **more: Any) -> Callable[[Verb], Verb]:
    return click.option(name, type=kind, help=about, expose_value=False, callback=kept, **more)


OPTIONS = (
    option("--procs", click.IntRange(1), "Processes on this machine: one for each GPU, or over its CPUs."),
    option("--nnodes", click.IntRange(1), "Machines, each of which gives this command; SLURM's, by default."),
    option("--node-rank", click.IntRange(0), "This machine's number; SLURM's, or found out, by default."),
    option("--rdzv", str, "Where the machines meet: on the first of them.", metavar="HOST:PORT"),
    option("--max-restarts", click.IntRange(0), "How often all processes are started again when one fails.", default=0),
)


def processes(verb: Verb) -> Verb:
    """A verb that several processes can share: it begins with `if launched(...): return`."""
    for one in reversed(OPTIONS):
        verb = one(verb)
    return verb


def looks_first() -> bool:
    """Is it this process that looks a spec over for all? Those that `launch` starts come after one that has done so."""
    return os.environ.get("RANK", "0") == "0" and "CDKIT_PROCESSES" not in os.environ


def launched(context: click.Context) -> bool:
    """Were several processes asked for? Then they have done it when this returns."""
    from cdkit.engine.launch import launch, planned

    plan = planned(*(context.meta[f"{__name__}.{name}"] for name in OWN))
    if plan is None:
        return False
    debug = ["--debug"] if "--debug" in sys.argv else []
    launch([*debug, *context.command_path.split()[1:], *words_of(context, without=OWN)], plan)
    return True
