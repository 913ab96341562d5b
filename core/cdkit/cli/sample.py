"""cdkit sample: say it, and it draws it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click
from cdkit.cli.processes import launched, processes

if TYPE_CHECKING:
    from cdkit.model import Samples


@click.command("sample")
@click.argument("run")
@click.option("--prompt", "-p", "prompts", multiple=True, help="What to draw; may be given several times.")
@click.option("--prompts-file", type=click.Path(path_type=Path), help="A file with one prompt a line (UTF-8).")
@click.option("--negative-prompt", "negatives", multiple=True, help="What not to draw: one for all, or one each.")
@click.option("--give", "given", multiple=True, metavar="COLUMN=VALUE", help="Another condition: numbers, a word, a picture.")
@click.option("--image", type=click.Path(path_type=Path), help="A picture to set out from.")
@click.option("--strength", type=float, help="Share of the steps taken from --image; 0.8, or 1 with --mask, by default.")
@click.option("--mask", type=click.Path(path_type=Path), help="White where --image is to be drawn anew; the rest stays.")
@click.option("--height", type=click.IntRange(1), help="In pixels; the picture's own, or the model's, by default.")
@click.option("--width", type=click.IntRange(1), help="Likewise.")
@click.option("--n", type=click.IntRange(1), default=1, show_default=True, help="Pictures of each prompt.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the first picture; the next ones count up.")
@click.option("--sampler", help="Another sampler than the spec's, by name.")
@click.option("--steps", type=click.IntRange(1, 4000), help="Sampling steps.")
@click.option("--guidance", type=float, help="Guidance scale; 1 is none.")
@click.option("--approximate", "approximations", multiple=True, metavar="NAME|{use: …}", help="Cheaper, less exact; or none.")
@click.option("--lora", "loras", multiple=True, metavar="FILE[:SCALE]", help="Add a LoRA; may be given several times.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("samples"), show_default=True, help="Folder for the PNGs.")
@processes
@click.option("--device", help="cpu, cuda, cuda:1 …; the best there is by default.")
@click.option("--no-metadata", is_flag=True, help="Leave the recipe out of the PNGs.")
@click.option("--fallback", is_flag=True, help="Where the latest checkpoint is damaged, take an older one.")
@click.option("--strict", is_flag=True, help="Refuse parts of another version than the run was made with.")
@click.option("--fast", type=click.Choice(["on", "off"]), default="on", show_default=True, help="On a GPU: bfloat16, recorded.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    run: str,
    prompts: tuple[str, ...],
    prompts_file: Path | None,
    negatives: tuple[str, ...],
    given: tuple[str, ...],
    image: Path | None,
    strength: float | None,
    mask: Path | None,
    height: int | None,
    width: int | None,
    n: int,
    seed: int,
    sampler: str | None,
    steps: int | None,
    guidance: float | None,
    approximations: tuple[str, ...],
    loras: tuple[str, ...],
    out: Path,
    device: str | None,
    no_metadata: bool,
    fallback: bool,
    strict: bool,
    fast: str,
    as_json: bool,
) -> None:
    """Draw with RUN: a run folder, a diffusers folder, or the name of a model that ships in a package (animals).

    Leaves a labelled grid and one PNG a picture, each with the recipe that draws it again.
    """
    if launched(click.get_current_context()):
        return
    from cdkit.build.recipe import chosen
    from cdkit.engine.apart import of_rows, samples_together
    from cdkit.engine.load import load
    from cdkit.engine.pictures import save
    from cdkit.engine.prompts import read_prompts
    from cdkit.engine.ranks import joined
    from cdkit.engine.said import said
    from cdkit.engine.setting_out import size_of, start_of
    from cdkit.fast import hasten
    from cdkit.model.draw import spread, text_column

    asked = [*prompts, *(read_prompts(prompts_file) if prompts_file else ())]
    height, width = size_of(image, height, width)
    with joined(device) as ranks:
        model = load(run, device=ranks.place(device), fallback=fallback, strict=strict, height=height, width=width)
        for written in loras:
            path, scale = file_and_scale(written)
            added = model.lora(path, scale)
            if not as_json and ranks.leads:
                click.echo(f"{path}: {added.summary()}, times {scale:g}")
        if fast == "on" and model.device.type == "cuda":
            hasten(model)
        values = said(model, asked, given, n)
        if model.columns and not values and ranks.leads:
            click.echo(f"{model.spec.name} reads {', '.join(model.columns)} and is told nothing: -p says what to draw", err=True)
        total = max((len(column) for column in values.values()), default=n)
        unwanted = spread(text_column(model), negatives, total) if negatives else ()

        def draw(rows: range) -> Samples:
            return model.sample(
                of_rows(values, rows),
                start=start_of(model, image, mask, strength),
                negative=list(unwanted[rows.start : rows.stop]) or None,
                seeds=range(seed + rows.start, seed + rows.stop),
                n=len(rows),
                sampler=sampler,
                steps=steps,
                guidance=guidance,
                approximate=chosen(approximations),
            )

        samples = samples_together(ranks, total, draw)
        if ranks.leads:
            report(samples, save(samples, out, metadata=not no_metadata), as_json=as_json)


def file_and_scale(written: str) -> tuple[Path, float]:
    """`style.safetensors:0.8` -> the path and 0.8; a path alone means 1, and so does one that holds such a name whole."""
    path, _, number = written.rpartition(":")
    try:
        scale = float(number)
    except ValueError:
        return Path(written), 1.0
    return (Path(path), scale) if path and not Path(written).exists() else (Path(written), 1.0)


def report(samples: Samples, paths: list[Path], *, as_json: bool) -> None:
    """Say where the pictures are."""
    if as_json:
        click.echo(
            json.dumps(
                {"grid": str(paths[0]), "pictures": [str(path) for path in paths[1:]], **samples.recipe_of()}, ensure_ascii=False
            )
        )
        return
    for path, caption in zip(paths[1:], samples.captions, strict=True):
        click.echo(f"{path}  {caption!r}")
    click.echo(f"{paths[0]}  all of them")
