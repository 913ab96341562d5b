"""cdkit plan: what a training on many GPUs would take."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import click

SCALES = {"k": 1e3, "m": 1e6, "b": 1e9}


class Many(click.ParamType[float]):
    """A number of pictures: 2000000, 2M, 1B."""

    name = "many"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        text = str(value).lower().replace(",", "")
        try:
            found = float(text.rstrip("kmb")) * SCALES.get(text[-1:], 1.0)
        except ValueError:
            self.fail(f"{value!r} is no number of pictures; expected one like 2000000, 2M or 1B", param, ctx)
        return found


@click.command("plan")
@click.argument("spec", type=click.Path(path_type=Path))
@click.option("--gpus", type=click.IntRange(1), required=True, help="How many.")
@click.option("--data", type=Many(), required=True, metavar="PICTURES", help="In the data set: 2M, 1B …")
@click.option("--epochs", type=click.FloatRange(0, min_open=True), default=1.0, show_default=True, help="How often each is seen.")
@click.option("--each", type=click.IntRange(1), default=16, show_default=True, help="Pictures a GPU in one step.")
@click.option("--strategy", type=click.Choice(["auto", "ddp", "late", "fsdp2"]), help="The spec's by default.")
@click.option(
    "--recompute/--keep", default=None, help="What blocks make, again instead of keeping it; as in the spec by default."
)
@click.option("--machine", default="h100", show_default=True, help="Which measurements.")
@click.option("--seconds", type=click.FloatRange(0, min_open=True), help="A step on one GPU, measured, instead of an estimate.")
@click.option("--network", type=click.FloatRange(0, min_open=True), default=320.0, show_default=True, help="GB/s of one host.")
@click.option("--disk", type=click.FloatRange(0, min_open=True), default=2.0, show_default=True, help="GB/s for checkpoints.")
@click.option("--price", type=click.FloatRange(0), help="Of one GPU for an hour.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a key of the spec.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    spec: Path,
    gpus: int,
    data: float,
    epochs: float,
    each: int,
    strategy: Literal["auto", "ddp", "late", "fsdp2"] | None,
    recompute: bool | None,
    machine: str,
    seconds: float | None,
    network: float,
    disk: float,
    price: float | None,
    overrides: tuple[str, ...],
    as_json: bool,
) -> None:
    """Memory, time, checkpoints, failures and cost of training SPEC on so many GPUs: predictions, before anything is rented.

    They follow from the network's shapes and from what docs/scaling.md measured on one and on two GPUs.
    """
    from cdkit.errors import UsageError
    from cdkit.plan.counted import counted
    from cdkit.plan.machine import MACHINES
    from cdkit.plan.plan import Way, course_of, memory_of, step_of, strategy_on_gpus
    from cdkit.spec import read_spec

    if machine not in MACHINES:
        raise UsageError(f"--machine {machine}: not measured; those that are: {', '.join(MACHINES)}")
    read = read_spec(spec, overrides=overrides)
    averages = (read.train.ema is not None) + len(read.train.ema_lengths)
    way = Way(
        gpus=gpus,
        each=each,
        strategy=strategy_on_gpus(strategy or read.train.strategy),
        recompute=read.train.recompute if recompute is None else recompute,
        averages=averages,
        network=network * 1e9,
        disk=disk * 1e9,
    )
    what, kind = counted(read), MACHINES[machine]
    memory, step = memory_of(what, kind, way), step_of(what, kind, way, seconds)
    course = course_of(what, step, way, data * epochs)
    told = {
        "spec": read.name,
        "machine": machine,
        "way": asdict(way),
        "counted": asdict(what),
        "memory": {**asdict(memory), "most": memory.most, "fits": memory.most + memory.reserve <= kind.memory},
        "step": {**asdict(step), "seconds": step.seconds, "efficiency": step.efficiency},
        "course": {**asdict(course), "days_in_all": course.days_in_all},
        "gpu_hours": course.days_in_all * 24 * gpus,
        **({"cost": course.days_in_all * 24 * gpus * price} if price is not None else {}),
    }
    click.echo(json.dumps(told) if as_json else "\n".join(lines(told)))


def lines(told: dict[str, Any]) -> list[str]:
    """For a person."""
    way, memory, step, course = (told[key] for key in ("way", "memory", "step", "course"))
    gb = {key: f"{value / 1e9:.1f}" for key, value in memory.items() if key != "fits"}
    batch = way["each"] * way["gpus"]
    return [
        f"{told['spec']} on {way['gpus']:,} x {told['machine']}, {way['strategy']}{again(way['recompute'])}, "
        f"{batch:,} pictures a step",
        f"  memory       {gb['most']} GB a GPU: {gb['held']} weights, moments and averages, {gb['buckets']} of DDP's, "
        f"{gb['cast']} in bf16, {gb['activations']} activations; and {gb['reserve']} of CUDA's"
        f"{'' if memory['fits'] else '. DOES NOT FIT'}",
        f"  step         {step['seconds'] * 1e3:.0f} ms: {step['alone'] * 1e3:.0f} of arithmetic, {step['exposed'] * 1e3:.1f} "
        f"for {step['traffic'] * 1e3:.1f} ms of traffic; efficiency {step['efficiency']:.1%}".replace("%", " %"),
        f"  course       {course['steps']:,} steps, {batch / step['seconds']:,.0f} pictures/s, {course['days_in_all']:.1f} days, "
        f"{told['gpu_hours']:,.0f} GPU hours" + (f", cost {told['cost']:,.0f}" if "cost" in told else ""),
        f"  checkpoints  {course['checkpoint'] / 1e9:.1f} GB each, best every {course['interval'] / 60:.0f} minutes",
        f"  failures     {course['failures']:.1f} expected; they and checkpoints take {course['lost']:.2%} of the time".replace(
            "%", " %"
        ),
    ]


def again(which: bool | tuple[int, ...]) -> str:
    """Of which blocks the activations are made again, in words."""
    levels = "" if isinstance(which, bool) else f" at level {', '.join(map(str, which))}"
    return f", recompute{levels}" if which else ""
