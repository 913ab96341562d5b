"""cdkit pack: a run made small enough to ship."""

from __future__ import annotations

from pathlib import Path
from typing import TextIO

import click


@click.command("pack")
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "--licence", type=click.File(encoding="utf-8"), required=True, help="A text: what it was trained on, on what terms."
)
def command(run: Path, out: Path, licence: TextIO) -> None:
    """Write RUN's averaged weights in float16, its spec, its versions and the licence text to the new folder OUT.

    OUT is a run: it can be loaded, drawn with and fine-tuned from (`train --init-from`), but not resumed.
    """
    from cdkit.engine.load import find_run
    from cdkit.engine.pack import pack

    made = pack(find_run(run), out, licence=licence.read())
    size = sum(path.stat().st_size for path in made.rglob("*") if path.is_file())
    click.echo(f"{made}: {size / 1e6:.1f} MB")
