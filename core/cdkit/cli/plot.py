"""cdkit plot: the losses of runs, in the terminal and as a page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from cdkit.engine.run import Run


@click.command("plot")
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Write one HTML page with all curves, too.")
def command(runs: tuple[Path, ...], out: Path | None) -> None:
    """How the losses of RUNS went, as far as they are: a line each here, and with --out one page that overlays them."""
    from cdkit.engine.load import find_run

    found = {str(run): find_run(run) for run in runs}
    for name, run in found.items():
        click.echo(told(name, run))
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(page(found), encoding="utf-8")
        click.echo(out)


def told(name: str, run: Run) -> str:
    """One run: its steps, its losses as blocks, the first and the last of them."""
    from cdkit.engine.journal import losses_of
    from cdkit.engine.sparkline import sparkline

    losses = losses_of(run.path)
    if not losses:
        return f"{name}: no loss was logged"
    values = list(losses.values())
    return f"{name}: step {max(losses):,}  {sparkline(values)}  {values[0]:.3g} to {values[-1]:.3g}, least {min(values):.3g}"


def page(runs: dict[str, Run]) -> str:
    """All curves over each other, each point the mean of a fiftieth of the training. UsageError where none was logged."""
    from importlib.resources import files
    from string import Template

    from cdkit.compare.curves import training
    from cdkit.compare.losses import losses
    from cdkit.engine.journal import METRICS, losses_of
    from cdkit.errors import UsageError

    logged = {name: losses([run.path / METRICS]) for name, run in runs.items() if losses_of(run.path)}
    if not logged:
        raise UsageError(
            "no loss was logged in any of these runs", hint="a model that ships has no journal; `cdkit train` leaves one"
        )
    template = Template(files("cdkit.compare").joinpath("curves.html").read_text(encoding="utf-8"))
    return template.substitute(curves=training(logged))
