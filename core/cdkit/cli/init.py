"""cdkit init: a folder in which an editor knows specs: a first spec, the schema of what is installed, the line joining them."""

from __future__ import annotations

import json
from pathlib import Path

import click

SCHEMA = "cdkit.schema.json"
LINE = f"# yaml-language-server: $schema={SCHEMA}\n"
FIRST = """\
# Ten handwritten digits, said and drawn: cdkit train digits.yaml --out runs/digits, two minutes on a CPU.
cdkit: 1
name: digits
sample: {channels: 1, height: 8, width: 8}
conditions:
  text: {use: bytes, dim: 64, depth: 1, heads: 2, dropout: 0.1}
injectors:
  - {use: cross_attention, streams: [text], heads: 2}
backbone: {use: unet, width: 24, mult: [1, 2], blocks: 1, attention: [1], heads: 2}
guidance: {use: cfg, scale: 1.5}
sampler: {use: dpmpp_2m, steps: 20}
data: {use: digits}
train: {steps: 800, batch: 64, lr: 2.0e-3, warmup: 100, ema: 0.995, prompts: [three, seven]}
evaluate:
  - {use: said_drawn, pictures: 500}
"""


@click.command("init")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), default=Path())
def command(folder: Path) -> None:
    """Make FOLDER one in which an editor helps with specs.

    Writes the JSON schema of all parts that are installed (again, after you installed more), puts the line that an editor looks
    for at the top of every spec that lies there, and where none does writes a first one, digits.yaml. Nothing else is changed.
    """
    from cdkit.registry import Registry
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
        first.write_text(LINE + FIRST, encoding="utf-8")
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
