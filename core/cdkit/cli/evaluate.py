"""cdkit evaluate: how well a model does what it is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
from cdkit.cli.processes import launched, processes


class Scales(click.ParamType[tuple[float, ...]]):
    """Numbers with commas between them: 1,1.5,2."""

    name = "scales"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, ...]:
        try:
            scales = tuple(float(part) for part in str(value).split(","))
        except ValueError:
            self.fail(f"{value!r} is no list of numbers; expected one like 1,1.5,2", param, ctx)
        return scales


@click.command("evaluate")
@click.argument("run")
@click.option("--metric", "metrics", multiple=True, metavar="NAME", help="One metric instead of the spec's; may be repeated.")
@click.option("--pictures", type=click.IntRange(1), help="How many are drawn.")
@click.option("--language", metavar="en|zh", help="Of the prompts and captions.")
@click.option("--split", type=click.Choice(["validation", "test"]), help="Whose real pictures count, and which noise is drawn.")
@click.option("--guidance", type=Scales(), metavar="SCALE[,SCALE…]", help="A guidance scale, or several to compare.")
@click.option("--steps", type=click.IntRange(1, 4000), help="Sampling steps.")
@click.option("--sampler", help="Another sampler than the spec's, by name.")
@click.option("--approximate", "approximations", multiple=True, metavar="NAME|{use: …}", help="Cheaper, less exact; or none.")
@click.option("--seed", type=int, help="Of the metrics' own choices and of the noise.")
@click.option("--batch", type=click.IntRange(1), default=128, show_default=True, help="Pictures in one call of the model.")
@processes
@click.option("--device", help="cpu, cuda, cuda:1 …; the best there is by default.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the reports; evaluation/ in the run by default.")
@click.option("--fallback", is_flag=True, help="Where the latest checkpoint is damaged, take an older one.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    run: str,
    metrics: tuple[str, ...],
    pictures: int | None,
    language: str | None,
    split: str | None,
    guidance: tuple[float, ...] | None,
    steps: int | None,
    sampler: str | None,
    approximations: tuple[str, ...],
    seed: int | None,
    batch: int,
    device: str | None,
    out: Path | None,
    fallback: bool,
    as_json: bool,
) -> None:
    """Score RUN: a run folder, or the name of a model that ships in a package (animals).

    Choose a guidance scale on the validation split, then judge it on the test split:

    \b
        cdkit evaluate RUN --metric said_drawn --split validation --guidance 1,1.5,2
    """
    if launched(click.get_current_context()):
        return
    from cdkit.build.recipe import chosen
    from cdkit.cache import cache_folder
    from cdkit.engine.drawings import Drawings
    from cdkit.engine.evaluate import evaluate, make_dataset, make_metrics, write_reports
    from cdkit.engine.examinee import Examined
    from cdkit.engine.load import load
    from cdkit.engine.ranks import joined
    from cdkit.engine.scores import lines

    with joined(device) as ranks:
        model = load(run, device=ranks.place(device), fallback=fallback)
        options = {"pictures": pictures, "language": language, "split": split, "seed": seed}
        asked = make_metrics(model.spec, metrics, options=options)
        examined = Examined(
            model,
            make_dataset(model.spec),
            cache_folder(),
            batch=batch,
            steps=steps,
            sampler=sampler,
            approximate=chosen(approximations),
            tell=say if ranks.leads else unsaid,
            drawings=Drawings(),
            ranks=ranks,
        )
        reports = evaluate(examined, asked, scales=guidance or (None,))
        if not ranks.leads:
            return
        sweep = "-sweep" if len(guidance or ()) > 1 else ""
        paths = write_reports(reports, [f"{one.file}{sweep}" for one in asked], out or folder_of(run))
    if as_json:
        click.echo(json.dumps({"reports": reports, "files": [str(path) for path in paths]}, ensure_ascii=False))
        return
    for report, path in zip(reports, paths, strict=True):
        click.echo("\n".join([*lines(report), f"  report  {path}"]))


def folder_of(run: str) -> Path:
    """Where a run's reports go; those of a model that ships in a package go to the folder at hand."""
    return Path(run) / "evaluation" if Path(run).is_dir() else Path("evaluation") / run


def say(line: str) -> None:
    """One line of progress, where it does not mix with the answer."""
    click.echo(line, err=True)


def unsaid(line: str) -> None:
    """What a process that does not lead says."""
    del line
