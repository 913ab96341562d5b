"""cdkit init: a folder in which an editor knows specs: a first spec, the schema of what is installed, the line joining them."""

from __future__ import annotations

import json
from pathlib import Path

import click

SCHEMA = "cdkit.schema.json"
LINE = f"# yaml-language-server: $schema={SCHEMA}\n"


@click.command("init")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), default=Path())
def command(folder: Path) -> None:
    """Make FOLDER one in which an editor helps with specs.

    Writes the JSON schema of all parts that are installed (again, after you installed more), puts the line that an editor looks
    for at the top of every spec that lies there, and where none does writes a first one, digits.yaml. Nothing else is changed.
    """
    from cdkit.registry import Registry
    from cdkit.scaffold.first import first_spec
    from cdkit.spec.editor import editor_schema

    folder.mkdir(parents=True, exist_ok=True)
    schema, failed = editor_schema(Registry.installed())
    for reason in failed:
        click.echo(f"left out: {reason}", err=True)
    (folder / SCHEMA).write_text(json.dumps(schema, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    click.echo(f"wrote {folder / SCHEMA}")
    specs = [path for path in sorted(folder.glob("*.yaml")) if is_spec(path)]
    if not specs:
        first = folder / "digits.yaml"
        first.write_text(LINE + first_spec(), encoding="utf-8")
        click.echo(f"wrote {first}; train it: cdkit train {first}")
    for path in specs:
        text = path.read_text(encoding="utf-8")
        if "yaml-language-server:" not in text:
            path.write_text(LINE + text, encoding="utf-8")
            click.echo(f"{path}: its first line tells editors of the schema")


def is_spec(path: Path) -> bool:
    """Does it say `cdkit:` at the top? A comparison, a workflow or anybody else's YAML does not."""
    try:
        return any(line.startswith("cdkit:") for line in path.read_text(encoding="utf-8").splitlines())
    except (OSError, UnicodeDecodeError):
        return False
