"""cdkit explain: where each word of a prompt acts in the picture."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cdkit.model.atlas import Atlas


@click.command("explain")
@click.argument("run")
@click.option("--prompt", "-p", required=True, help="What is said; each of its words is asked about.")
@click.option("--give", "given", multiple=True, metavar="COLUMN=VALUE", help="Another condition, which stays as it is.")
@click.option("--image", type=click.Path(path_type=Path), help="A picture to ask about, instead of one that is drawn.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the picture, and of the noise that it is asked under.")
@click.option("--guidance", type=float, help="Guidance scale of the picture; 1 is none.")
@click.option("--levels", type=click.IntRange(1, 32), default=4, show_default=True, help="Noise levels, from much to little.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("atlas"), show_default=True, help="Folder for the files.")
@click.option("--device", help="cpu, cuda, cuda:1 …; the best there is by default.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    run: str,
    prompt: str,
    given: tuple[str, ...],
    image: Path | None,
    seed: int,
    guidance: float | None,
    levels: int,
    out: Path,
    device: str | None,
    as_json: bool,
) -> None:
    """Where each word of a prompt acts in the picture that RUN draws of it.

    Every method is asked by leaving each word out; one with attention to words, by that as well. Leaves atlas.png (by
    noise level), sites.png (by site), atlas.html (by both) and atlas.json.
    """
    from cdkit.engine.atlas_files import numbers, save
    from cdkit.engine.load import load
    from cdkit.engine.said import said
    from cdkit.engine.setting_out import start_of
    from cdkit.model.atlas import explain

    model = load(run, device=device)
    start = start_of(model, image, None, None)
    picture = None if start is None else start.image
    atlas = explain(model, said(model, [prompt], given, 1), seed=seed, guidance=guidance, levels=levels, picture=picture)
    source = "a given picture" if image else f"drawn by {model.spec.name}, seed {seed}"
    paths = save(atlas, out, f"{source}; {', '.join(injector.part.use for injector in model.spec.injectors)}")
    if as_json:
        click.echo(json.dumps({**numbers(atlas), "files": [str(path) for path in paths]}, ensure_ascii=False))
        return
    for line in [*table(atlas), *map(str, paths)]:
        click.echo(line)


def table(atlas: Atlas) -> Iterator[str]:
    """A line a word: how far the picture moves without it, and its share of attention."""
    attended = atlas.attended
    for place, (word, moved) in enumerate(zip(atlas.words, atlas.influence.whole.mean(dim=1), strict=True)):
        heard = "" if attended is None else f"  attended to {float(attended[place].mean()):.1%}"
        yield f"{word:<16} moves the picture by {float(moved):.4f}{heard}"
