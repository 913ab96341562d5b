"""cdkit claim: published findings that are tried again, with what was expected of them registered before."""

from __future__ import annotations

import json
from pathlib import Path

import click
from cdkit.cli.family import Family

SCALES = ("tiny", "small", "gpu")  # as in cdkit.compare.claim, which --help does not import


@click.group("claim", cls=Family)
def command() -> None:
    """Published findings as code: list them, try one again."""


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def list_(as_json: bool) -> None:
    """Every claim that is installed: what it says, who published it, and who provides it."""
    from cdkit.compare.claim import find_claim
    from cdkit.errors import PluginError
    from cdkit.registry import Registry

    registry = Registry.installed()
    found: dict[str, dict[str, str]] = {}
    for name in registry.names("claim"):
        try:
            claim = find_claim(name, registry)
        except PluginError as error:  # nobody asked for this one
            click.echo(f"left out: {error}", err=True)
            continue
        found[name] = {
            "says": claim.keys.says,
            "paper": claim.keys.paper,
            "expect": "; ".join(f"{arm}: {expected.words()}" for arm, expected in claim.expect.items()),
            "digest": claim.digest,
            "provider": registry.provider("claim", name),
        }
    if as_json:
        click.echo(json.dumps(found, ensure_ascii=False))
        return
    for name, row in found.items():
        click.echo(f"{name}  [{row['provider']}]\n  {row['says']}\n  {row['paper']}; expected of {row['expect']}")


@command.command("run")
@click.argument("name")
@click.option("--scale", type=click.Choice(SCALES), required=True, help="tiny: a minute of CPU; small: minutes; gpu: on one.")
@click.option("--out", type=click.Path(path_type=Path), help="The claim's folder; claims/NAME-SCALE by default.")
@click.option("--device", help="cpu, cuda, cuda:1 …; the best there is by default.")
@click.option("--jobs", type=click.IntRange(min=1), help="So many arms and seeds at once; one for each GPU by default.")
@click.option("--minutes", type=click.FloatRange(0, min_open=True), help="Stop, saved, after about so long.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object at the end.")
def run(
    name: str, scale: str, out: Path | None, device: str | None, jobs: int | None, minutes: float | None, as_json: bool
) -> None:
    """Try claim NAME, or one in a YAML file, again: reproduced, contradicted, or nobody can tell.

    The same command goes on where it stopped. The folder holds what `cdkit compare` leaves, and claim.json and claim.txt beside
    it, with the digest of the claim's file: a threshold that was changed afterwards shows.
    """
    from cdkit.compare.claim import SCALES as NAMES
    from cdkit.compare.claim import find_claim

    claim = find_claim(name)
    comparison = claim.at(NAMES[SCALES.index(scale)])
    from cdkit.compare.crew import crew_of
    from cdkit.compare.job import Unfinished
    from cdkit.compare.kept import write
    from cdkit.compare.outcome import outcome_of, register
    from cdkit.compare.publish import publish
    from cdkit.compare.run import Comparing
    from cdkit.compare.work import quiet

    folder = out or Path("claims") / comparison.keys.name
    say = quiet if as_json else click.echo
    say(f"{claim.keys.name}: {claim.keys.says}\n  registered: sha256 {claim.digest}  {claim.path}")
    registered = register(claim, folder)
    try:
        comparing = Comparing(comparison, folder, device=device, minutes=minutes, say=say, crew=crew_of("local", jobs, device))
        result = publish(comparing, f"cdkit claim run {name} --scale {scale}")
    except Unfinished:
        click.echo(f"{folder}: the minutes are over; the same command goes on", err=True)
        return
    made = outcome_of(claim, scale, comparison, result, registered)
    write(folder / "claim.json", made)
    (folder / "claim.txt").write_text(f"{made['words']}\n", encoding="utf-8")
    click.echo(json.dumps(made, ensure_ascii=False) if as_json else f"{made['words']}\n  report  {folder}/report.html")
