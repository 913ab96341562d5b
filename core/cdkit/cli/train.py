"""cdkit train: train a spec, or go on with a run."""

from __future__ import annotations

import json
from pathlib import Path

import click
from cdkit.cli.failures import tell
from cdkit.cli.processes import launched, looks_first, processes


@click.command("train")
@click.argument("spec", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="The run's folder; runs/NAME by default.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a key, e.g. train.steps=100.")
@click.option("--init-from", metavar="RUN", help="Start a new run from the weights of this one.")
@click.option("--strategy", type=click.Choice(["auto", "ddp", "late", "fsdp2"]), help="The same as --set train.strategy=…")
@click.option("--compile", "how", type=click.Choice(["off", "regional", "whole"]), help="The same as --set train.compile=…")
@processes
@click.option("--device", help="cpu, cuda, cuda:1 …; the best there is by default.")
@click.option("--deterministic", is_flag=True, help="Bitwise repeatable on the same machine, at some cost in speed.")
@click.option("--minutes", type=click.FloatRange(0, min_open=True), help="Stop, saved, after about so long.")
@click.option("--override", is_flag=True, help="Go on with a run although its spec has changed.")
@click.option(
    "--fallback", is_flag=True, help="Where the latest checkpoint is damaged, set it aside and go on from an older one."
)
@click.option("--allow-data-change", is_flag=True, help="Go on with a run although its data set has changed.")
@click.option("--strict", is_flag=True, help="Rather refuse than go on with parts of another version.")
@click.option("--fast", type=click.Choice(["on", "off"]), default="on", show_default=True, help="On a GPU, by every exact means.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object at the end.")
def command(
    spec: Path,
    out: Path | None,
    overrides: tuple[str, ...],
    init_from: str | None,
    strategy: str | None,
    how: str | None,
    device: str | None,
    deterministic: bool,
    minutes: float | None,
    override: bool,
    fallback: bool,
    allow_data_change: bool,
    strict: bool,
    fast: str,
    as_json: bool,
) -> None:
    """Train SPEC. The same command again goes on where a run stopped; Ctrl-C saves first.

    The run's folder holds the filled spec, checkpoints, metrics.jsonl, TensorBoard's files and sample grids.
    """
    from cdkit.spec import read_spec

    asked = {"strategy": strategy, "compile": how and how.replace("off", "false")}
    read = read_spec(spec, overrides=(*overrides, *(f"train.{key}={value}" for key, value in asked.items() if value)))
    from cdkit.build import assemble
    from cdkit.build.liveness import prove
    from cdkit.build.room import check_room

    full = assemble(read, device="meta")
    if looks_first():
        prove(full)
    if launched(click.get_current_context()):
        return
    from cdkit.engine.device import be_deterministic, pick_device

    check_room(full, training=pick_device(device).type == "cpu")
    from cdkit.engine.load import find_run
    from cdkit.engine.ranks import joined
    from cdkit.engine.train import train

    if deterministic:
        be_deterministic()
    start = find_run(init_from) if init_from else None
    say = _quiet if as_json else tell
    with joined(device) as ranks:
        run = train(
            read,
            out or Path("runs") / read.name,
            device=device,
            init_from=start,
            minutes=minutes,
            override=override,
            fallback=fallback,
            allow_data_change=allow_data_change,
            strict=strict,
            fast=fast == "on",
            say=say,
            ranks=ranks,
        )
        if not ranks.leads:
            return
    latest = run.latest()
    if as_json:
        tell(json.dumps({"run": str(run.path), "step": latest.step if latest else 0}))
    else:
        then = "evaluate RUN" if read.task == "autoencoder" else "sample RUN --prompt …"
        tell(f"{run.path}: saved at step {latest.step if latest else 0}; cdkit {then.replace('RUN', str(run.path))}")


def _quiet(line: str) -> None:
    del line
