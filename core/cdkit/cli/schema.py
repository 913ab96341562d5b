"""cdkit schema: the JSON schema of specs, made from the parts that are installed here, for editors."""

from __future__ import annotations

import json

import click


@click.command("schema")
@click.option("--out", type=click.Path(dir_okay=False, writable=True), help="Write it to a file.")
def command(out: str | None) -> None:
    """Print the JSON schema (draft 2020-12) of specs. Every plugin is imported; one that fails is left out, and named."""
    from cdkit.registry import Registry
    from cdkit.spec.editor import editor_schema

    made, failed = editor_schema(Registry.installed())
    for reason in failed:
        click.echo(f"left out: {reason}", err=True)
    text = json.dumps(made, indent=2, ensure_ascii=False)
    if out is None:
        click.echo(text)
        return
    with open(out, "w", encoding="utf-8") as file:
        file.write(text + "\n")
    click.echo(f"wrote {out}; begin a spec with: # yaml-language-server: $schema={out}", err=True)
