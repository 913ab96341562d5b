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
OPTIONS = (
    click.option("--procs", type=click.IntRange(1), help="Processes on this machine: one for each GPU, or over its CPUs."),
    click.option("--nnodes", type=click.IntRange(1), help="Machines, each of which gives this command; SLURM's, by default."),
    click.option("--node-rank", type=click.IntRange(0), help="This machine's number; SLURM's, or found out, by default."),
    click.option("--rdzv", metavar="HOST:PORT", help="Where the machines meet: on the first of them."),
    click.option(
        "--max-restarts", type=click.IntRange(0), default=0, help="How often all processes are started again when one fails."
    ),
)


def processes(verb: Verb) -> Verb:
    """The options, taken by the verb as `procs`, `nnodes`, `node_rank`, `rdzv` and `max_restarts`."""
    for option in reversed(OPTIONS):
        verb = option(verb)
    return verb


def looks_first() -> bool:
    """Is it this process that looks a spec over for all? Those that `launch` starts come after one that has done so."""
    return os.environ.get("RANK", "0") == "0" and "CDKIT_PROCESSES" not in os.environ


def launched(context: click.Context) -> bool:
    """Were several processes asked for? Then they have done it when this returns."""
    from cdkit.engine.launch import launch, planned

    given = context.params
    plan = planned(*(given[name] for name in OWN))
    if plan is None:
        return False
    debug = ["--debug"] if "--debug" in sys.argv else []
    launch([*debug, *context.command_path.split()[1:], *words_of(context, without=OWN)], plan)
    return True
