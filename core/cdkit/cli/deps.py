"""cdkit deps: what a spec needs, and what to install of it. Nothing is installed, and nothing is asked of a network."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click


@click.command("deps")
@click.argument("spec", type=click.Path(path_type=Path))
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a key, e.g. backbone.width=64.")
@click.option("--missing", is_flag=True, help="Print what is missing alone, as lines for `pip install -r`.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON array.")
def command(spec: Path, overrides: tuple[str, ...], missing: bool, as_json: bool) -> None:
    """Say for each part of SPEC (a file, or a run's folder) who provides it, or what to install. Exit 4 if any is missing."""
    from cdkit.errors import PluginError
    from cdkit.spec.deps import needs

    found = needs(spec, overrides)
    lost = [need for need in found if not need.provider]
    wanted = sorted({need.wanted for need in lost if need.wanted})
    if as_json:
        click.echo(json.dumps([{**asdict(need), "place": str(need.place)} for need in found], ensure_ascii=False))
    elif missing:
        click.echo("\n".join(wanted), nl=bool(wanted))
    else:
        width = max((len(need.part) for need in found), default=0)
        for need in found:
            said = need.provider or (f"missing: pip install {need.wanted}" if need.wanted else f"missing: {need.problem}")
            click.echo(f"{need.part:<{width}}  {said}")
    if lost:
        hint = f"pip install {' '.join(wanted)}" if wanted else "who offers it is said by use: DISTRIBUTION/NAME"
        raise PluginError(f"{spec}: {len(lost)} of {len(found)} parts are not installed", hint=hint)
