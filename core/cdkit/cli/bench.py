"""cdkit bench: what a spec's model takes on this machine, plainly and hastened."""

from __future__ import annotations

import json
from pathlib import Path

import click


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
@click.option("--rounds", type=click.IntRange(1), default=5, show_default=True, help="Measurements of each, of which the median.")
@click.option("--device", help="cpu, cuda, cuda:1 …; the best there is by default.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    spec: Path,
    overrides: tuple[str, ...],
    whats: tuple[str, ...],
    batches: tuple[int, ...],
    rounds: int,
    device: str | None,
    as_json: bool,
) -> None:
    """Measure SPEC's model with weights as drawn: `--fast off` against `--fast on`, in turn, on this machine."""
    from cdkit.spec import read_spec

    read = read_spec(spec, overrides=overrides)
    import torch
    from cdkit.engine.bench import WHATS, What, bench
    from cdkit.engine.device import pick_device

    target = pick_device(device)
    wanted: list[What] = [what for what in WHATS if not whats or what in whats]
    name = torch.cuda.get_device_name(target) if target.type == "cuda" else f"{torch.get_num_threads()} threads of a CPU"
    if not as_json:
        click.echo(f"{read.name} on {name}, torch {torch.__version__}, milliseconds")
        click.echo(f"{'':<10}{'batch':>6}{'plain':>10}{'fast':>10}{'ratio':>8}{'TMAC/s':>9}")
    rows = []
    for row in bench(read, wanted, batches or (1,), target, rounds):
        rows.append(row.to_json())
        if not as_json:
            line = f"{row.what:<10}{row.batch:>6}{row.plain:>10.2f}{row.fast:>10.2f}{row.plain / row.fast:>8.2f}"
            click.echo(f"{line}{row.macs / 1e12:>9.3g}")
    if as_json:
        click.echo(json.dumps({"model": read.name, "device": name, "torch": torch.__version__, "rows": rows}))
