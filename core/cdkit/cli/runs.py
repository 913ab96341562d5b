"""cdkit runs: the runs in a folder, listed, verified and made smaller."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click
from cdkit.cli.family import Family

if TYPE_CHECKING:
    from cdkit.engine.run import Run
    from cdkit.engine.shelf import Standing

FOLDER = click.Path(path_type=Path)


@click.group("runs", cls=Family)
def command() -> None:
    """The runs in a folder, listed, verified and made smaller."""


@command.command("list")
@click.argument("folder", type=FOLDER, default=Path("runs"))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def list_(folder: Path, as_json: bool) -> None:
    """The runs in FOLDER (runs/): how far each is, its last loss, how long it waited for data, its room on the disk, and who
    trains it."""
    from cdkit.engine.shelf import standing

    standings = [standing(run) for run in found(folder)]
    click.echo(json.dumps({"runs": [asdict(one) for one in standings]}) if as_json else "\n".join(table(standings)))


def found(folder: Path) -> list[Run]:
    """CheckpointError if there is no run."""
    from cdkit.engine.shelf import runs_in
    from cdkit.errors import CheckpointError

    runs = list(runs_in(folder))
    if not runs:
        raise CheckpointError(f"{folder}: holds no run", hint="`cdkit train SPEC` leaves one in runs/")
    return runs


def table(standings: list[Standing]) -> list[str]:
    """A line a run, in columns."""
    rows = [("run", "state", "step", "loss", "waited", "kept", "MB"), *(row(one) for one in standings)]
    widths = [max(len(line[column]) for line in rows) for column in range(7)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in rows]
    return [
        lines[0],
        *(f"{line}  ({one.writer})" if one.writer else line for line, one in zip(lines[1:], standings, strict=True)),
    ]


def row(one: Standing) -> tuple[str, ...]:
    step = f"{one.step}/{one.steps}" if one.steps is not None else str(one.step)
    loss = "" if one.loss is None else f"{one.loss:.4g}"
    waited = "" if one.waited is None else f"{one.waited:.1%}"
    return one.run, one.state, step, loss, waited, str(one.checkpoints), f"{one.size / 1e6:.1f}"


@command.command()
@click.argument("folder", type=FOLDER, default=Path("runs"))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def verify(folder: Path, as_json: bool) -> None:
    """Check every checkpoint of a run, or of all runs in FOLDER, against its manifest. The exit code is 6 if one is damaged."""
    from cdkit.engine import verify as examine

    findings = [examine.verify(run) for run in found(folder)]
    if as_json:
        click.echo(json.dumps({"runs": [asdict(one) for one in findings]}, indent=1))
    for one in () if as_json else findings:
        whole = sum(state != "damaged" for state in one.checkpoints.values())
        click.echo(f"{one.run}: {whole} of {len(one.checkpoints)} checkpoints are whole")
        for line in (*(f"problem: {text}" for text in one.problems), *(f"note: {text}" for text in one.notes)):
            click.echo(f"  {line}")
    if any(one.problems for one in findings):
        raise SystemExit(6)


@command.command()
@click.argument("run", type=FOLDER)
def consolidate(run: Path) -> None:
    """The latest checkpoint of RUN, if it is in shards, as one safetensors file for each of its parts."""
    from cdkit.engine.run import Run
    from cdkit.engine.shards import consolidate as joined

    made = joined(Run.open(run))
    click.echo(f"{run}: no shards to join" if made is None else f"{made.folder}: {', '.join(made.names)}, each in one file")


@command.command()
@click.argument("run", type=FOLDER)
@click.option("--keep", type=click.IntRange(1), default=1, show_default=True, help="Checkpoints that stay, the newest ones.")
@click.option("--dry-run", is_flag=True, help="Say what would go, and delete nothing.")
def prune(run: Path, keep: int, dry_run: bool) -> None:
    """Delete all but the newest checkpoints of RUN, and what was set aside as damaged.

    Nothing is deleted unless the checkpoints that stay are whole.
    """
    from cdkit.engine.checkpoint import committed, verified
    from cdkit.engine.run import Run
    from cdkit.engine.shelf import pruned, size_of

    opened = Run.open(run)
    for folder in committed(opened.checkpoints)[-keep:]:
        verified(folder)
    before = size_of(run)
    gone = pruned(opened, keep, really=not dry_run)
    for path in gone:
        click.echo(f"{'would delete' if dry_run else 'deleted'} {path}")
    freed = "" if dry_run else f", {(before - size_of(run)) / 1e6:.1f} MB freed"
    click.echo(f"{run}: {len(gone)} {'would go' if dry_run else 'gone'}{freed}")
