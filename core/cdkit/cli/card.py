"""cdkit card: a model card, out of what a run left."""

from __future__ import annotations

import json
from pathlib import Path

import click

FILE = click.Path(path_type=Path, dir_okay=False, exists=True)


@click.command("card")
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--scores", "files", type=FILE, multiple=True, help="What `cdkit evaluate RUN --json` printed; several, one a file."
)
@click.option("--out", type=click.Path(path_type=Path), help="The file; RUN/README.md by default, and - is the terminal.")
def command(run: Path, files: tuple[Path, ...], out: Path | None) -> None:
    """Write the model card of RUN: what it is, how it is told, what it learned from, how it scored."""
    from cdkit.engine.card import card
    from cdkit.engine.load import find_run

    found = find_run(run)
    text = card(found, [report for file in files for report in reports(file)])
    if str(out) == "-":
        click.echo(text, nl=False)
        return
    path = out or found.path / "README.md"
    path.write_text(text, encoding="utf-8")
    click.echo(path)


def reports(file: Path) -> list[dict[str, object]]:
    """The reports in a file of JSON: one, or several. UsageError for anything else."""
    from cdkit.errors import UsageError

    try:
        read = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UsageError(f"{file}: is no JSON", hint="cdkit evaluate RUN --json > scores.json") from error
    found = read if isinstance(read, list) else read.get("reports", [read]) if isinstance(read, dict) else []
    if not found or not all(isinstance(one, dict) and "scores" in one for one in found):
        raise UsageError(f"{file}: holds no scores", hint="cdkit evaluate RUN --json > scores.json")
    return found
