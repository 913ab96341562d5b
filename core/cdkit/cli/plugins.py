"""cdkit plugins: which distributions provide parts, what one part is, and whether each can be loaded."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING

import click
from cdkit.cli.family import Family

if TYPE_CHECKING:
    from cdkit.registry import Record, Registry
    from cdkit.testing.conformance import Row

WHAT = (
    "text_encoder",
    "encoder",
    "injector",
    "backbone",
    "sampler",
    "guider",
    "approximation",
    "autoencoder",
    "dataset",
    "metric",
    "callback",
    "command",
)  # those of cdkit.scaffold, said again here so that nothing is imported for `--help`


@click.group("plugins", cls=Family, invoke_without_command=True)
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

    registry = Registry.installed()
    records = registry.records()
    if as_json:
        click.echo(json.dumps([record.to_json() for record in records]))
        return
    for provider in dict.fromkeys(record.entry.provider for record in records):
        click.echo(provider.replace("==", " "))
        for line in described(registry, (record for record in records if record.entry.provider == provider)):
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
@click.argument("chosen", metavar="DIST|KIND.NAME...", nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON array.")
def check(chosen: tuple[str, ...], as_json: bool) -> None:
    """Put the parts of a distribution, or single ones, to the checks of their kinds; exit 4 if one fails.

    The checks are those of cdkit.testing. Parts run in a process of their own, which they may crash.
    """
    from cdkit.errors import PluginError
    from cdkit.registry import Registry
    from cdkit.testing.inspection import inspected

    registry = Registry.installed()
    parts = [part for what in chosen for part in parts_of(what, registry)]
    rows: list[Row] = []
    for part, of in groupby(inspected(parts), key=attrgetter("part")):
        rows.extend(found := list(of))
        if not as_json:
            click.echo("\n".join(table(part, found)))
    if as_json:
        click.echo(json.dumps([row.to_json() for row in rows]))
    if failed := list(dict.fromkeys(row.part for row in rows if row.outcome == "failed")):
        raise PluginError(f"{len(failed)} of {len(parts)} parts fail: {', '.join(failed)}")


@command.command("new")
@click.argument("name")
@click.option("--kind", "what", type=click.Choice(WHAT), required=True, help="What it provides.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=Path(), help="The folder in which it is made.")
def new(name: str, what: str, out: Path) -> None:
    """Write a package, NAME, for a part of your own: code, tests, a spec and CI, all of it working before you change a line."""
    from cdkit.scaffold import scaffold

    folder = scaffold(name, what, out)
    click.echo(f"wrote {folder}; try it:")
    click.echo(f"  cd {folder} && pip install -e '.[dev]' && pytest")
    click.echo(f"  cdkit plugins check {name}")


def parts_of(what: str, registry: Registry) -> list[str]:
    """KIND.NAME itself, or every part that a distribution offers. UsageError that lists the distributions for neither."""
    from cdkit.errors import UsageError
    from cdkit.hooks import KINDS
    from cdkit.registry.names import did_you_mean, normal

    if what.partition(".")[0] in KINDS:
        return [what]
    entries = [record.entry for record in registry.records() if record.status not in ("shut out", "refused")]
    mine = [entry for entry in entries if entry.dist == normal(what)]
    found = [f"{e.kind}.{e.name if e.name in registry.names(e.kind) else e.full}" for e in mine]
    if found:
        return found
    dists = list(dict.fromkeys(entry.dist for entry in entries))
    raise UsageError(
        f"no installed distribution {what!r} offers parts{did_you_mean(normal(what), dists)}",
        hint=f"those that do: {', '.join(dists)}; or name a part: KIND.NAME",
    )


def table(part: str, rows: Sequence[Row]) -> Iterator[str]:
    """A part's line, and one for each thing that was said of its checks: of those that failed, of what they are excused."""
    counts = Counter(row.outcome for row in rows)
    word = next(word for word in ("failed", "untried", "passed", "excepted") if counts[word])
    told = ", ".join(f"{n} {outcome}" for outcome, n in counts.items())
    yield f"{word:<8} {part:<34} {told}, {sum(row.seconds for row in rows):.1f} s"
    said = dict.fromkeys((row.outcome, row.said) for row in rows if row.said)
    for outcome, why in said:
        checks = ", ".join(row.check for row in rows if (row.outcome, row.said) == (outcome, why))
        text = why.removeprefix(f"{checks}: ")
        yield f"    {outcome} {checks}: {text}"


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


def described(registry: Registry, records: Iterable[Record]) -> Iterable[str]:
    """Entry points of one distribution, a line each; what keeps one from being used, and its mending, stand beside it."""
    for record in records:
        note = record.error or registry.note(record.entry)
        yield f"{record.entry.line} ({record.status}{f': {note}' if note else ''})"
        if record.at_fault and record.mend:
            yield f"  {record.mend}"
