"""cdkit graft: mount a way of telling on a trained model."""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.command("graft")
@click.argument("run")
@click.option(
    "--injectors", "over", type=click.Path(path_type=Path), required=True, help="YAML: conditions, injectors, guidance."
)
@click.option("--out", type=click.Path(path_type=Path), help="The new run's folder; runs/NAME by default.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(run: str, over: Path, out: Path | None, as_json: bool) -> None:
    """Mount the methods of a YAML file on RUN, which goes on drawing exactly what it drew until it is trained on.

    From "it draws whatever its training set held" to "say it and it draws it":

    \b
        cdkit graft runs/unconditional --injectors words.yaml --out runs/told
        cdkit train runs/told/spec.yaml --out runs/told
    """
    from cdkit.engine.graft import graft
    from cdkit.errors import UsageError

    folder = out or Path("runs") / f"{Path(run).name}_grafted"
    if (folder / "spec.yaml").exists():
        raise UsageError(f"{folder}: is a run already", hint="name another folder with --out")
    path = graft(run, over, folder, say=(lambda _: None) if as_json else click.echo)
    click.echo(json.dumps({"run": str(path)}) if as_json else f"then: cdkit train {path / 'spec.yaml'} --out {path}")
