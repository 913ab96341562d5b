"""draw: what was said -> pictures. Encodes once, prepares once, then hands the sampler a denoiser."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from cdkit.conditions import forms_of
from cdkit.diffusion.random import generator
from cdkit.errors import UsageError
from cdkit.model.begun import Begun
from cdkit.model.plain import Plain
from cdkit.model.samples import Samples
from cdkit.model.start import MASKED, Start, begun, masked_of, pasted
from cdkit.model.trajectory import Watch
from cdkit.model.walk import Recipe, Told, Walk
from cdkit.parts import Stream, TextEncoder

if TYPE_CHECKING:
    from cdkit.model.network import Network, Raw, Values


def draw(
    model: Network,
    values: Values = (),
    *,
    negative: Values | None = None,
    seed: int = 0,
    seeds: Sequence[int] | None = None,
    steps: int | None = None,
    guidance: float | None = None,
    sampler: str | None = None,
    approximate: Sequence[str] | None = None,
    n: int | None = None,
    batch: int = 64,
    start: Start | None = None,
    watch: Watch | None = None,
) -> Samples:
    """Draw one picture for each value.

    values: prompts, or raw values by column ({"text": [...], "size": [...]}); a column that is left out keeps silent.
    negative: what the pictures should not be; takes the place of the null in guidance. One for all, or one each.
    seed: of the first picture, the next ones count up; or `seeds`, one each. A picture depends on its own seed alone.
    steps, guidance, sampler, approximate: as in the spec where None; approximations are names, or what a spec would say
    ("{use: deep_cache, every: 5}"), and [] is none. n: how many, for a model that is told nothing. batch: at a time.
    start: a picture to set out from, and a mask of what is to be drawn anew. watch: is shown every step, as a Moment.
    """
    check_draws(model)
    raw = by_column(model, values)
    total = count(raw, seeds, n)
    if start is not None and start.mask is not None and MASKED in model.columns:
        with torch.inference_mode():
            raw[MASKED] = [masked_of(model, start)] * total
    unwanted = {column: spread(column, given, total) for column, given in by_column(model, negative or ()).items()}
    if total < 1:
        raise UsageError("nothing to draw: no prompt, and no number of pictures", hint="give a prompt, or n of at least 1")
    numbers = tuple(seeds) if seeds is not None else tuple(range(seed, seed + total))
    if len(numbers) != total:
        raise UsageError(f"{len(numbers)} seeds for {total} pictures", hint="give one seed a picture")
    recipe = decided(model, steps=steps, guidance=guidance, sampler=sampler, approximate=approximate, start=start)
    allowed(model, recipe, raw, unwanted)
    chunks = [range(start, min(start + batch, total)) for start in range(0, total, batch)]
    was_training = model.training
    if was_training:
        model.eval()
    try:
        with torch.inference_mode():
            first = None if start is None else begun(model, start)
            drawn = [
                _drawn(model, recipe, _rows(raw, at), _rows(unwanted, at), [numbers[i] for i in at], first, watch)
                for at in chunks
            ]
    finally:
        if was_training:
            model.train()
    captions = tuple(_caption(raw, index) for index in range(total))
    words = {**recipe.words, "negative": {column: list(given) for column, given in unwanted.items()}}
    pictures = torch.cat(drawn) if start is None else pasted(torch.cat(drawn), start)
    return Samples(pictures, captions, numbers, words)


def check_draws(model: Network) -> None:
    """UsageError for a model whose task was not to draw."""
    if model.spec.task == "autoencoder":
        raise UsageError(
            f"{model.spec.name} is an autoencoder: it turns pictures into latents and back, and draws none",
            hint="train a denoiser that draws with it: autoencoder: {use: ..., run: THIS RUN}",
        )


def by_column(model: Network, values: Values) -> dict[str, Sequence[Any]]:
    """Prompts alone belong to the model's text column; anything else names its columns itself."""
    if isinstance(values, Mapping):
        _known_columns(model, values)
        return {column: [given] if isinstance(given, str) else given for column, given in values.items()}
    prompts = [values] if isinstance(values, str) else list(values)
    if not prompts:
        return {}
    return {text_column(model): prompts}


def text_column(model: Network) -> str:
    """The column that prompts are for: the one a text encoder reads, or the only one there is."""
    texts = [reader.column for reader in model.readers.values() if isinstance(reader.encoder, TextEncoder)]
    columns = tuple(dict.fromkeys(texts)) or model.columns
    if len(columns) == 1:
        return columns[0]
    told = ", ".join(model.columns) or "nothing: it is unconditional"
    raise UsageError(f"this model cannot tell which of its columns a prompt is for; it reads {told}", hint="name the columns")


def _known_columns(model: Network, values: Mapping[str, Any]) -> None:
    for column in values:
        if column not in model.columns:
            raise UsageError(f"this model reads no column {column!r}; it reads {', '.join(model.columns) or 'none'}")


def count(raw: Raw, seeds: Sequence[int] | None, n: int | None) -> int:
    """How many pictures are asked for; every column must agree."""
    lengths = {column: len(given) for column, given in raw.items()}
    if len(set(lengths.values())) > 1:
        raise UsageError(f"columns of different lengths: {lengths}", hint="give one value a picture in every column")
    if lengths:
        return next(iter(lengths.values()))
    return n if n is not None else len(seeds) if seeds is not None else 1


def spread(column: str, given: Sequence[Any], total: int) -> Sequence[Any]:
    """One value for every picture: the only one repeated, or one each."""
    if len(given) == total:
        return given
    if len(given) == 1:
        return list(given) * total
    raise UsageError(f"{len(given)} negative values of {column!r} for {total} pictures; give one, or one a picture")


def decided(
    model: Network,
    *,
    steps: int | None,
    guidance: float | None,
    sampler: str | None,
    approximate: Sequence[str] | None = None,
    start: Start | None = None,
) -> Recipe:
    """The spec's sampler, guider and approximations, with what was asked for instead."""
    from cdkit.build.recipe import asked_approximations, make_guider, make_sampler

    way = make_sampler(model.spec, sampler, steps)
    guider = make_guider(model.spec, guidance)
    approximations = asked_approximations(model.spec, model.backbone, approximate)
    grid = {"steps": way.steps, "spacing": way.spacing, "ends": way.ends}
    words = {"model": model.spec.name, "sampler": repr(way.sampler), **grid, "guidance": repr(guider)}
    words |= {"approximate": [repr(each) for each in approximations]} if approximations else {}
    words |= {"loras": borrowed} if (borrowed := model.borrowed) else {}
    levels = model.diffusion.grid(way.steps, way.spacing, way.ends)
    if start is None:
        return Recipe(way.sampler, guider, levels, words, approximations)
    words |= {"strength": start.strength, "masked": start.mask is not None}
    return Recipe(way.sampler, guider, start.shortened(levels), words, approximations)


def allowed(model: Network, recipe: Recipe, raw: Raw, negative: Raw) -> None:
    """Refuse to silence a condition that the model never saw silent: what comes out would mean nothing."""
    asked = _branches(model, recipe, raw)
    for name in model.told:
        column = model.readers[name].column
        left_out = column not in raw
        guided = column not in negative and any(name in branch for branch in asked)
        if (left_out or guided) and model.ledger.never_silent(name):
            why = f"nothing is said for its column {column!r}" if left_out else f"guidance {recipe.guider!r} needs it silent"
            raise UsageError(
                f"{why}, but this model was never trained with condition {name!r} silent",
                hint=f"train with `dropout:` above 0 on {name!r}, or draw with --guidance 1 and a value for every column",
            )


def guided(model: Network, raw: Raw) -> tuple[str, ...]:
    """The conditions that guidance may silence: they are told something, and training was to keep them silent at times.

    Those of `dropout: 0` are told in every branch, beside others; alone, they are left to `allowed` to refuse.
    """
    told = tuple(name for name in model.told if model.readers[name].column in raw)
    return tuple(name for name in told if model.spec.conditions[name].dropout > 0) or told


def _branches(model: Network, recipe: Recipe, raw: Raw) -> set[frozenset[str]]:
    if recipe.guider is None:
        return set()
    steps, names = range(len(recipe.grid)), guided(model, raw)
    return {branch for i in steps for branch in recipe.guider.branches(names, recipe.grid, i)}


def _drawn(
    model: Network,
    recipe: Recipe,
    raw: Raw,
    negative: Raw,
    seeds: Sequence[int],
    first: Begun | None = None,
    watch: Watch | None = None,
) -> Tensor:
    generators = [generator(seed, "picture") for seed in seeds]
    noise = torch.stack([torch.randn(model.shape, generator=g) for g in generators]).to(model.device)
    told = _told(model, raw, negative, len(seeds))
    pace = model.pace if watch is None else Plain()  # who looks on sees the steps as the weights' own dtype takes them
    pixels = pace.pixels(model, pace.walk(model, Walk(recipe, told, noise, generators, first, watch)))
    return pixels.float().clamp(-1, 1).cpu()


def _told(model: Network, raw: Raw, negative: Raw, n: int) -> Told:
    """Every condition is encoded once. In a branch that silences it, it says what is unwanted or, failing that, its null."""
    said, instead = (model.pace.encode(model, given) for given in (raw, negative))
    silent = {name: instead.get(name) or spread_out(model.pace.silent(model, name), n) for name in model.told}
    return Told(said, silent, guided(model, raw))


def spread_out(stream: Stream, n: int) -> Stream:
    """A stream of one, n times."""
    return Stream(**{form: value.expand(n, *value.shape[1:]) for form, value in forms_of(stream)})


def _rows(raw: Raw, at: range) -> dict[str, Sequence[Any]]:
    return {column: [given[i] for i in at] for column, given in raw.items()}


def _caption(raw: Raw, index: int) -> str:
    return ", ".join(given[index] for given in raw.values() if isinstance(given[index], str))
