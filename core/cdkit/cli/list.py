"""cdkit list: the parts that are installed, by kind. No plugin is imported."""

from __future__ import annotations

import json
from collections.abc import Iterator

import click
from cdkit.hooks import KINDS


@click.command("list", help=f"List the parts that a spec can name, all of them or those of one KIND: {', '.join(KINDS)}.")
@click.argument("kind", required=False, type=click.Choice(KINDS), metavar="[KIND]")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON array.")
def command(kind: str | None, as_json: bool) -> None:
    rows = list(parts((kind,) if kind else KINDS))
    if as_json:
        click.echo(json.dumps(rows))
        return
    width = max((len(row["name"]) for row in rows), default=0)
    for of in dict.fromkeys(row["kind"] for row in rows):
        click.echo(of)
        for row in rows:
            if row["kind"] == of:
                click.echo(f"  {row['name']:<{width}}  {row['provider']}")
    if not rows:
        click.echo(f"no {kind or 'part'} is installed")


def parts(kinds: tuple[str, ...]) -> Iterator[dict[str, str]]:
    """A row for every name that can be written, from metadata alone."""
    from cdkit.registry import Registry

    registry = Registry.installed()
    for kind in kinds:
        for name in registry.names(kind):
            yield {"kind": kind, "name": name, "provider": registry.provider(kind, name)}
