"""cdkit build: assemble a spec on the meta device, prove every condition alive, and say what was built."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from cdkit.model import Model


@click.command("build")
@click.argument("spec", type=click.Path(path_type=Path))
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a key, e.g. backbone.width=64.")
@click.option("--fill", is_flag=True, help="Print the spec with every default written out, and stop.")
@click.option("--out", type=click.Path(path_type=Path), help="Leave a run folder with an initialised model.")
@click.option(
    "--init-from",
    multiple=True,
    metavar="SOURCE",
    help="With --out: weights of a run, or an IP-Adapter; several, one over the other.",
)
@click.option("--draw", metavar="FILE.svg|mermaid", help="Draw the model as an SVG, or print it as Mermaid text, and stop.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    spec: Path,
    overrides: tuple[str, ...],
    fill: bool,
    out: Path | None,
    init_from: tuple[str, ...],
    draw: str | None,
    as_json: bool,
) -> None:
    """Assemble SPEC without weights, prove that every condition reaches the output, and report.

    Nothing is downloaded and no weights are needed; --out draws the weights and leaves a model that can be loaded.
    """
    if init_from and out is None:
        raise click.UsageError("--init-from leaves a run with those weights, and wants to know where: add --out RUN")
    from cdkit.spec import read_spec

    read = read_spec(spec, overrides=overrides)
    if fill:
        click.echo(read.to_yaml(), nl=False)
        return
    from cdkit.build import assemble
    from cdkit.build.liveness import prove
    from cdkit.build.report import lines, report

    full = assemble(read, device="meta")
    if draw is not None:
        click.echo(drawn(full, draw), nl=False)
        return
    made = report(full, prove(full))
    if out is not None:
        from cdkit.build.room import check_room
        from cdkit.engine.birth import give_birth

        check_room(full)
        made["run"] = str(give_birth(read, out, init_from=init_from, say=(lambda _: None) if as_json else click.echo))
    click.echo(json.dumps(made, ensure_ascii=False) if as_json else "\n".join(lines(made)))


def drawn(model: Model, where: str) -> str:
    """Mermaid text, or, of an SVG that is written, where it is."""
    from cdkit.build.drawing import opened
    from cdkit.spec.drawing_mermaid import mermaid
    from cdkit.spec.drawing_svg import svg

    if where == "mermaid":
        return mermaid(opened(model))
    path = Path(where)
    if path.suffix != ".svg":
        raise click.UsageError(f"--draw {where}: expected a name that ends in .svg, or the word mermaid")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(svg(opened(model)), encoding="utf-8")
    return f"{path}\n"
