"""cdkit card: a model card, out of what a run left."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("card")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="The file; RUN/README.md by default, and - is the terminal.")
def command(run: Path, out: Path | None) -> None:
    """Write the model card of RUN: what it is, how it is told, what it learned from, how `cdkit evaluate` scored it."""
    from cdkit.engine.card import card
    from cdkit.engine.load import find_run

    found = find_run(run)
    text = card(found)
    if str(out) == "-":
        click.echo(text, nl=False)
        return
    path = out or found.path / "README.md"
    path.write_text(text, encoding="utf-8")
    click.echo(path)
