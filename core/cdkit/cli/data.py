"""cdkit data: the pictures that there are, fetching them, looking at them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from cdkit.cli.family import Family
from cdkit.cli.processes import launched, processes

if TYPE_CHECKING:
    from cdkit.parts import Dataset, Example


@click.group("data", cls=Family)
def command() -> None:
    """Data sets: what there is, fetch one, look at one."""


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def list_(as_json: bool) -> None:
    """Every data set, who provides it and what it is. Plugins are not imported: `cdkit plugins show dataset.NAME` says more."""
    from cdkit.registry import Registry

    registry = Registry.installed()
    found: dict[str, dict[str, str]] = {}
    for name in registry.names("dataset"):
        own = registry.own("dataset", name)
        about = first_sentence(registry.get("dataset", name).__doc__) if own else f"see `cdkit plugins show dataset.{name}`"
        found[name] = {"provider": registry.provider("dataset", name), "about": about}
    if as_json:
        click.echo(json.dumps(found, ensure_ascii=False))
        return
    for name, row in found.items():
        click.echo(f"{name:<10} {row['about']}  [{row['provider']}]")


@command.command("fetch")
@click.argument("name")
def fetch(name: str) -> None:
    """Obtain data set NAME, check it, and keep it in the cache folder ($CDKIT_CACHE, else the user's own)."""
    from cdkit.cache import cache_folder
    from cdkit.registry import Registry

    cache = cache_folder()
    Registry.installed().get("dataset", name).fetch(cache)
    click.echo(f"{name} is ready; look at it: cdkit data show {name}")


@command.command("show")
@click.argument("name")
@click.option("--set", "options", multiple=True, metavar="KEY=VALUE", help="An option of the data set, e.g. path=pictures.")
@click.option("--split", type=click.Choice(["train", "validation", "test"]), default="train", show_default=True)
@click.option("--n", type=click.IntRange(1, 400), default=24, show_default=True, help="Pictures to show.")
@click.option("--out", type=click.Path(path_type=Path), help="Draw them into this PNG.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def show(name: str, options: tuple[str, ...], split: str, n: int, out: Path | None, as_json: bool) -> None:
    """Sizes, columns and captions of data set NAME; --out draws a grid of evenly chosen pictures."""
    from cdkit.registry import Registry

    dataset = made(Registry.installed().get("dataset", name), name, options)
    examples = chosen(dataset, split, n)
    about = {
        "name": name,
        "shape": list(dataset.shape),
        "splits": {each: len(dataset.split(each)) for each in ("train", "validation", "test")},
        "columns": list(dataset.columns),
        "classes": list(dataset.classes),
        "captions": [list(example.values["text"]) for example in examples[:4] if "text" in example.values],
        "fingerprint": dataset.fingerprint(),
    }
    if out is not None:
        about["grid"] = str(draw(examples, out))
    click.echo(json.dumps(about, ensure_ascii=False) if as_json else "\n".join(lines(about)))


@command.command("prepare")
@click.argument("spec", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for the shards.")
@click.option("--shard", type=click.IntRange(1), default=1024, show_default=True, help="Pictures in one file.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a key of the spec.")
@processes
@click.option("--device", help="cpu, cuda …; the best there is by default.")
def prepare_(
    spec: Path,
    out: Path,
    shard: int,
    overrides: tuple[str, ...],
    device: str | None,
) -> None:
    """What SPEC's autoencoder and frozen encoders make of its data set, once for all: latents and streams, in shards.

    The same command goes on where it stopped. Train on it with `--set "data={use: prepared, path: OUT}"`.
    """
    if launched(click.get_current_context()):
        return
    from cdkit.engine.prepare import prepare
    from cdkit.engine.ranks import joined
    from cdkit.spec import read_spec

    read = read_spec(spec, overrides=overrides)
    with joined(device) as ranks:
        prepare(read, out, shard=shard, device=device, say=click.echo, ranks=ranks)


def first_sentence(text: str | None) -> str:
    """Of a docstring; its first line where that is shorter."""
    return (text or "").strip().split("\n")[0].split(". ")[0].rstrip(".")


def made(factory: Any, name: str, options: tuple[str, ...]) -> Dataset:
    """The data set with these KEY=VALUE options; UsageError where it does not take them."""
    from cdkit.errors import CdkitError, UsageError

    given: dict[str, Any] = {}
    for option in options:
        key, equals, value = option.partition("=")
        if not equals:
            raise UsageError(f"--set {option}: expected KEY=VALUE")
        given[key] = scalar(value)
    try:
        return factory(**given)
    except CdkitError:
        raise
    except (TypeError, ValueError) as error:
        raise UsageError(f"{name}: {error}", hint=f"`cdkit schema dataset {name}` lists its options") from error


def scalar(text: str) -> Any:
    """A number, true, false or a list where it reads as one (JSON), else the text itself."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return tuple(value) if isinstance(value, list) else value


def chosen(dataset: Dataset, split: Any, n: int) -> list[Example]:
    """At most n examples, evenly spread over a split."""
    examples = dataset.split(split)
    step = max(1, len(examples) // n)
    return [examples[place] for place in range(0, len(examples), step)][:n]


def draw(examples: list[Example], path: Path) -> Path:
    """A grid of the pictures, small ones enlarged so that they can be seen. EnvironmentFault where it cannot be written."""
    import torch
    from cdkit.errors import DataError, EnvironmentFault
    from torchvision.transforms.v2.functional import to_pil_image
    from torchvision.utils import make_grid

    if not examples:
        raise DataError("nothing to draw: this split is empty", hint="choose another with --split")
    grid = make_grid(torch.stack([example.image for example in examples]), nrow=8, normalize=True, value_range=(-1, 1))
    factor = max(1, 64 // examples[0].image.shape[-1])
    picture = to_pil_image(grid)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.resize((picture.width * factor, picture.height * factor), resample=0).save(path, format="PNG")
    except OSError as error:
        raise EnvironmentFault(f"{path}: cannot be written ({error.strerror or error})", hint="choose another --out") from error
    return path


def lines(about: dict[str, Any]) -> list[str]:
    """What `show` prints for people."""
    sizes = ", ".join(f"{count:,} {split}" for split, count in about["splits"].items())
    said = [f"    {' | '.join(captions[:12])}" for captions in about["captions"]]
    grid = [f"  drawn      {about['grid']}"] if "grid" in about else []
    return [
        f"{about['name']}: {'x'.join(str(side) for side in about['shape'])}",
        f"  pictures   {sizes}",
        f"  columns    {', '.join(about['columns'])}",
        f"  classes    {', '.join(about['classes']) or 'none'}",
        "  captions, some of the first pictures:",
        *said,
        *grid,
    ]
