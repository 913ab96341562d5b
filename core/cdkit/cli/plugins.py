"""cdkit plugins: which distributions provide parts, what one part is, and whether each can be loaded."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from cdkit.registry import Record, Registry


@click.group("plugins", invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON array.")
@click.pass_context
def command(context: click.Context, as_json: bool) -> None:
    """Show who provides the parts. A plugin is code with your rights: only those that a spec names are imported."""
    if context.invoked_subcommand is None:
        context.invoke(list_plugins, as_json=as_json)


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON array.")
def list_plugins(as_json: bool) -> None:
    """List every entry point that a distribution offers. Imports none of them."""
    from cdkit.registry import Registry

    records = Registry.installed().records()
    if as_json:
        click.echo(json.dumps([record.to_json() for record in records]))
        return
    for provider in dict.fromkeys(record.entry.provider for record in records):
        click.echo(provider.replace("==", " "))
        for line in described(record for record in records if record.entry.provider == provider):
            click.echo(f"  {line}")


@command.command("show")
@click.argument("part", metavar="[KIND.]NAME")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def show(part: str, as_json: bool) -> None:
    """Import one part and show its options, its provider, where its code is, and how a spec names it."""
    from cdkit.registry import BrokenPlugin, Registry
    from cdkit.registry.describe import describe, lines

    registry = Registry.installed()
    kind, name = meant(part, registry)
    try:
        found = describe(registry, kind, name)
    except BrokenPlugin as error:
        click.echo(error.record.trace, err=True)
        raise
    click.echo(json.dumps(found, default=str) if as_json else "\n".join(lines(found)))


@command.command("check")
@click.argument("chosen", metavar="[KIND.NAME]...", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON array.")
def check(chosen: tuple[str, ...], as_json: bool) -> None:
    """Load parts, all or those named, each in a process of its own; exit 4 if one cannot be loaded."""
    from cdkit.errors import PluginError
    from cdkit.hooks import KINDS
    from cdkit.registry import Registry
    from cdkit.registry.probe import probe

    registry = Registry.installed()
    names = [split(part) for part in chosen] or [(kind, name) for kind in KINDS for name in registry.names(kind)]
    rows: list[dict[str, Any]] = []
    for kind, name in names:
        rows.append({"kind": kind, "name": name, **probe(kind, name)})
        if not as_json:
            row = rows[-1]
            said = f": {row['error']}" if row["error"] else ""
            click.echo(f"{'ok    ' if row['ok'] else 'FAILED'} {kind}.{name}{said}")
    if as_json:
        click.echo(json.dumps(rows))
    if failed := [f"{row['kind']}.{row['name']}" for row in rows if not row["ok"]]:
        raise PluginError(f"{len(failed)} of {len(rows)} parts cannot be loaded: {', '.join(failed)}")


def meant(part: str, registry: Registry) -> tuple[str, str]:
    """`kind.name`, or a name alone that is of one kind. UsageError that names the kinds where there are more, or none."""
    from cdkit.errors import UsageError
    from cdkit.hooks import KINDS
    from cdkit.registry.names import did_you_mean

    if part.partition(".")[0] in KINDS:
        return split(part)
    names = {kind: registry.names(kind) for kind in KINDS}
    found = [kind for kind in KINDS if part in names[kind]]
    if len(found) == 1:
        return found[0], part
    if found:
        raise UsageError(
            f"{part!r} is {' and '.join(found)}", hint=f"say which: {' or '.join(f'{kind}.{part}' for kind in found)}"
        )
    kind_of = {name: kind for kind, of in names.items() for name in of}
    near = did_you_mean(part, kind_of, lambda close: registry.provider(kind_of[close], close))
    raise UsageError(f"there is no part {part!r}{near}", hint="`cdkit list` shows them all; KIND.NAME says which of a kind")


def split(part: str) -> tuple[str, str]:
    """`kind.name` or `kind.dist/name` -> kind and name."""
    from cdkit.errors import UsageError

    kind, dot, name = part.partition(".")
    if not dot:
        raise UsageError(f"{part!r} is no KIND.NAME", hint="for example backbone.unet; `cdkit list` shows them all")
    return kind, name


def described(records: Iterable[Record]) -> Iterable[str]:
    """Entry points of one distribution, a line each; what keeps one from being used stands beside it."""
    for record in records:
        entry = record.entry
        error = f": {record.error}" if record.error else ""
        yield f"{entry.kind}.{entry.name} = {entry.value} ({record.status}{error})"
