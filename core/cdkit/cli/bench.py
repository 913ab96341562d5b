"""cdkit bench: what a spec's model takes on this machine, beside itself run plainly or beside another library's network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cdkit.engine.bench import What


@click.command("bench")
@click.argument("spec", type=click.Path(path_type=Path))
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a key, e.g. backbone.width=64.")
@click.option(
    "--what",
    "whats",
    multiple=True,
    type=click.Choice(["denoiser", "sample", "train"]),
    help="A call of the denoiser, a whole sampling, a pass of training; all three by default.",
)
@click.option(
    "--batch", "batches", multiple=True, type=click.IntRange(1), help="Pictures at once; may be given several times; 1."
)
@click.option(
    "--against",
    default="plain",
    show_default=True,
    metavar="plain|FORMAT",
    help="The plain path, or the network of the library that a format is of: diffusers.",
)
@click.option("--compiled", is_flag=True, help="Give that network to torch.compile.")
@click.option("--rounds", type=click.IntRange(1), default=5, show_default=True, help="Measurements of each, of which the median.")
@click.option("--device", help="cpu, cuda, cuda:1 …; the best there is by default.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    spec: Path,
    overrides: tuple[str, ...],
    whats: tuple[str, ...],
    batches: tuple[int, ...],
    against: str,
    compiled: bool,
    rounds: int,
    device: str | None,
    as_json: bool,
) -> None:
    """Measure SPEC's model with weights as drawn, as `--fast on` runs it, in turn with `--fast off` or with another library's
    network over the same weights, on this machine."""
    from cdkit.spec import read_spec

    read = read_spec(spec, overrides=overrides)
    import torch
    from cdkit.engine.bench import PLAIN, Against, bench
    from cdkit.engine.device import pick_device
    from cdkit.errors import UsageError

    target = pick_device(device)
    if compiled and against == PLAIN:
        raise UsageError("--compiled: says it of another library's network", hint="--against diffusers")
    other = Against(against, compiled)
    name = torch.cuda.get_device_name(target) if target.type == "cuda" else f"{torch.get_num_threads()} threads of a CPU"
    rows = []
    for row in bench(read, cast("Sequence[What]", whats), batches or (1,), target, rounds, other):
        if not rows and not as_json:
            click.echo(f"{read.name} on {name}, torch {torch.__version__}, milliseconds; other: {other.name}")
            click.echo(f"{'':<10}{'batch':>6}{'other':>10}{'fast':>10}{'ratio':>8}{'TMAC/s':>9}")
        rows.append(row.to_json())
        if not as_json:
            line = f"{row.what:<10}{row.batch:>6}{row.other:>10.2f}{row.fast:>10.2f}{row.ratio:>8.2f}"
            click.echo(f"{line}{row.macs / 1e12:>9.3g}")
    if as_json:
        click.echo(json.dumps({"model": read.name, "device": name, "torch": torch.__version__, "rows": rows}))
