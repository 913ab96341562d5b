"""cdkit spec: what a spec says once it is whole, who said it, how two differ, and what a key means."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click
from cdkit.cli.family import Family

if TYPE_CHECKING:
    from cdkit.spec.leaves import Leaf

SET = click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a key, e.g. backbone.width=64.")
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group("spec", cls=Family)
def command() -> None:
    """Fill, show, compare and explain specs. The plugins that they name are imported; nothing is built."""


@command.command("fill")
@click.argument("spec", type=click.Path(path_type=Path))
@SET
def fill(spec: Path, overrides: tuple[str, ...]) -> None:
    """Print SPEC with every default written out; read again, it is the same spec."""
    from cdkit.spec import read_spec

    click.echo(read_spec(spec, overrides=overrides).to_yaml(), nl=False)


@command.command("show")
@click.argument("spec", type=click.Path(path_type=Path))
@SET
@click.option("--origin", is_flag=True, help="Beside each value, the file and line that say it, or whose default it is.")
@JSON
def show(spec: Path, overrides: tuple[str, ...], origin: bool, as_json: bool) -> None:
    """Print every value of SPEC by its path, a line each."""
    from cdkit.spec.leaves import leaves

    rows = leaves(spec, overrides)
    if as_json:
        click.echo(json.dumps([{"path": row.path, "value": row.value, "origin": row.origin} for row in rows], ensure_ascii=False))
        return
    told = [f"{row.path} = {written(row.value)}" for row in rows]
    width = max(map(len, told))
    for line, row in zip(told, rows, strict=True):
        click.echo(f"{line:<{width}}  {row.origin}" if origin else line)


@command.command("diff")
@click.argument("before", type=click.Path(path_type=Path))
@click.argument("after", type=click.Path(path_type=Path))
@JSON
def diff(before: Path, after: Path, as_json: bool) -> None:
    """Print the values in which two filled specs differ, and who said them. Exit 1 if there are any."""
    from cdkit.spec.leaves import leaves

    one, other = ({leaf.path: leaf for leaf in leaves(path)} for path in (before, after))
    sides = {"before": one, "after": other}
    changed = {
        path: {name: side[path] for name, side in sides.items() if path in side}
        for path in dict.fromkeys([*one, *other])
        if path not in one or path not in other or one[path].value != other[path].value
    }
    if as_json:
        rows = [{"path": path, **{name: leaf.value for name, leaf in said.items()}} for path, said in changed.items()]
        click.echo(json.dumps(rows, ensure_ascii=False))
    else:
        told = [told_of(name, leaf) for said in changed.values() for name, leaf in said.items()]
        click.echo("\n".join(told) or f"{before} and {after} say the same")
    if changed:
        raise click.exceptions.Exit(1)


def told_of(side: str, leaf: Leaf) -> str:
    return f"{'-' if side == 'before' else '+'} {leaf.path} = {written(leaf.value)}  ({leaf.origin})"


@command.command("explain")
@click.argument("key")
@click.argument("spec", type=click.Path(path_type=Path), required=False)
@JSON
def explain_key(key: str, spec: Path | None, as_json: bool) -> None:
    """Say what KEY is: `train.lr`, `backbone.unet.width`, `injectors.use=film.inner`, or a path in SPEC: `injectors.0.inner`."""
    from cdkit.registry import Registry
    from cdkit.spec.explain import explain, lines
    from cdkit.spec.layers import layered
    from cdkit.spec.options import REQUIRED

    found = explain(key, Registry.installed(), layered(spec, ())[0] if spec else None)
    if as_json:
        row = found._asdict()
        click.echo(json.dumps({**row, "default": None, "required": True} if found.default is REQUIRED else row, default=str))
        return
    click.echo("\n".join(lines(found)))


def written(value: object) -> str:
    """A value as YAML has it, on one line."""
    return json.dumps(value, ensure_ascii=False) if not isinstance(value, str) else value
