"""cdkit convert: the same weights under others' names."""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.command("convert")
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--to", metavar="run|diffusers|compvis", help="What to write; as a rule TARGET's name says it.")
@click.option("--weights", type=click.Choice(["ema", "raw"]), help="Which, where the source holds both; averaged by default.")
@click.option(
    "--prediction", type=click.Choice(["epsilon", "v"]), help="What the network predicts, where the source leaves it open."
)
@click.option("--tokenizer", type=click.Path(path_type=Path), help="Folder of the tokenizer, which single files do not hold.")
@click.option("--unsafe-pickle-import", is_flag=True, help="Read a pickled .ckpt, tensors alone, in a process of its own.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    source: Path,
    target: Path,
    to: str | None,
    weights: str | None,
    prediction: str | None,
    tokenizer: Path | None,
    unsafe_pickle_import: bool,
    as_json: bool,
) -> None:
    """Convert SOURCE to TARGET: a run, a diffusers folder, or a single file of CompVis or sgm.

    \b
        cdkit convert v1-5.safetensors runs/sd15 --tokenizer clip-vit-large-patch14

    The architecture is found out from the tensors' shapes and said; every tensor must have a place; what was written is read
    back and compared, bit by bit.
    """
    from cdkit.engine.convert import Told, convert
    from cdkit.engine.pickled import unpickled

    told = Told(None if weights is None else weights == "ema", prediction, tokenizer)
    lines: list[str] = []
    say = lines.append if as_json else click.echo
    if unsafe_pickle_import:
        with unpickled(source, say) as tensors:
            convert(tensors, target, to=to, told=told, say=say)
    else:
        convert(source, target, to=to, told=told, say=say)
    if as_json:
        click.echo(json.dumps({"target": str(target), "notes": [line.strip() for line in lines]}, ensure_ascii=False))
