"""cdkit compare: train arms under one budget, and say which is better, worse, or that nobody can tell."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any, Literal

import click
from cdkit.cli.words import words_of


@click.command("compare")
@click.argument("comparison", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="The comparison's folder; comparisons/NAME by default.")
@click.option("--device", help="cpu, cuda, cuda:1 …; the best there is by default.")
@click.option(
    "--jobs", type=click.IntRange(1), help="Cells at work at once; by default one for each GPU. Several may share a GPU."
)
@click.option("--engine", type=click.Choice(["local", "ray"]), default="local", help="This machine, or a Ray cluster.")
@click.option("--minutes", type=click.FloatRange(0, min_open=True), help="Stop, saved, after about so long.")
@click.option("--deterministic", is_flag=True, help="Bitwise repeatable on the same machine, at some cost in speed.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object at the end.")
def command(
    comparison: Path,
    out: Path | None,
    device: str | None,
    jobs: int | None,
    engine: Literal["local", "ray"],
    minutes: float | None,
    deterministic: bool,
    as_json: bool,
) -> None:
    """Train every arm of COMPARISON with every seed, score them, and give a verdict with its confidence.

    The same command goes on where it stopped; what was trained and scored already is not done again. The folder holds every
    run, result.json, result.csv and report.html, which opens without a network.
    """
    from cdkit.compare.read import read_comparison

    read = read_comparison(comparison)
    from cdkit.compare.crew import crew_of
    from cdkit.compare.job import Unfinished
    from cdkit.compare.publish import publish
    from cdkit.compare.run import Comparing
    from cdkit.compare.work import quiet
    from cdkit.engine.device import be_deterministic

    if deterministic:
        be_deterministic()
    folder = out or Path("comparisons") / read.keys.name
    say = quiet if as_json else click.echo
    crew = crew_of(engine, jobs, device)
    try:
        comparing = Comparing(read, folder, device=device, minutes=minutes, say=say, crew=crew)
        result = publish(comparing, given(click.get_current_context()))
    except Unfinished:
        click.echo(f"{folder}: the minutes are over; the same command goes on", err=True)
        return
    click.echo(json.dumps(result, ensure_ascii=False) if as_json else "\n".join([*lines(result), *ends(result, folder)]))


def given(context: click.Context) -> str:
    """The command as it was given, as a shell takes it: its path, and the options that were said."""
    return shlex.join(["cdkit", "compare", *words_of(context)])


def ends(result: dict[str, Any], folder: Path) -> list[str]:
    """Where the report is, and what to hold against another run of the same."""
    return [f"  report  {folder}/report.html", f"  fingerprint  {result['fingerprint'][:12]}, of all but what a clock says"]


def lines(result: dict[str, Any]) -> list[str]:
    """The verdicts for a person."""
    from cdkit.compare.words import sentence

    told = [sentence(result, arm) for arm in result["arms"] if arm != result["reference"]]
    return [f"{result['comparison']}: {result['score']}, {len(result['seeds'])} seeds, beside {result['reference']}", *told]
