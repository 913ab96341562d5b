"""influence: where each word of a prompt acts: what the model takes for the clean picture, with the word and without it.

Leave one out (Li, Monroe & Jurafsky 2016, arXiv 1612.08220), in the picture: everything else is alike, the noise included. It
asks nothing of a method but its signals, so it shows what cross-attention, modulation and concatenation do by one measure.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from cdkit.diffusion.random import generator
from cdkit.errors import UsageError
from cdkit.model.draw import by_column, text_column
from cdkit.model.start import check_size, encoded
from cdkit.parts import Signals, TextEncoder

if TYPE_CHECKING:
    from cdkit.model.model import Model
    from cdkit.model.network import Values

ALONE = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # kana and Han: written without spaces
MARKS = "\u3001-\u303f\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65"  # East Asian punctuation, part of no word
WORD = re.compile(rf"[{ALONE}]|[^\s{ALONE}{MARKS}]+")


@dataclass(frozen=True, slots=True)
class Influence:
    """W words, K noise levels from much to little, on the picture that the model drew of the prompt. All on the CPU, float32.

    A number is a mean change of what the model takes for the clean picture, whose values span [-1, 1] in pixels; over all
    channels, and in `places` over the picture too. With an autoencoder H and W are those of its latents, and so are the values.
    """

    words: tuple[str, ...]
    sigmas: tuple[float, ...]  # K; x = alpha * clean + sigma * noise
    maps: Tensor  # (W, K, H, W)
    by_place: Mapping[str, Tensor]  # (W, K, H, W): the change where these sites alone hear the prompt without the word
    picture: Tensor  # (C, H, W) in [-1, 1], pixels

    @property
    def places(self) -> dict[str, Tensor]:
        """(W, K): what the maps of `by_place` amount to."""
        return {name: maps.mean(dim=(2, 3)) for name, maps in self.by_place.items()}

    @property
    def whole(self) -> Tensor:
        """(W, K): the maps' means, the change where all sites hear the prompt without the word."""
        return self.maps.mean(dim=(2, 3))


def influence(
    model: Model,
    values: Values,
    *,
    seed: int = 0,
    guidance: float | None = None,
    levels: int = 4,
    places: Mapping[str, Collection[str]] | None = None,
    picture: Tensor | None = None,
) -> Influence:
    """What each word of one prompt changes.

    values: a prompt, or the values of one picture by column; the words are those of the text column, and the others stay as
    they are. A prompt of one word without it is the null, and so is what an encoder of no text is told, without it.
    seed, guidance: of the picture, which is drawn by the spec's sampler; then it is noised to `levels` levels, evenly spaced in
    time, by one noise. places: sites' names by a name for them; each site for itself where None. picture: (C, H, W) in [-1, 1],
    to ask about instead of one that is drawn.
    UsageError for a model that hears nothing, for an empty prompt, and where a null is asked that training never used.
    """
    raw = by_column(model, values)
    column = text_column(model)
    words, versions = leave_one_out(model, column, raw)
    drawn = model.sample(raw, seeds=[seed], n=1, guidance=guidance).images[0] if picture is None else picture
    check_size(model, drawn)
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            return _measured(model, words, versions, drawn, seed, levels, each(model) if places is None else places)
    finally:
        model.train(was_training)


def words_of(prompt: str) -> tuple[str, ...]:
    """Split at white space; kana and Han characters, which are written without it, each for itself."""
    return tuple(WORD.findall(prompt))


def without(prompt: str) -> list[str]:
    """The prompt without each of its words."""
    return [" ".join((prompt[: found.start()] + prompt[found.end() :]).split()) for found in WORD.finditer(prompt)]


def each(model: Model) -> dict[str, list[str]]:
    """Every site that is filled, for itself."""
    return {site.name: [site.name] for site in model.sites}


def by_kind(model: Model) -> dict[str, list[str]]:
    """The sites that are filled, by their kind."""
    found: dict[str, list[str]] = {}
    for site in model.sites:
        found.setdefault(site.kind, []).append(site.name)
    return found


Versions = tuple[dict[str, list[Any]], dict[str, Tensor]]  # 1 + W raw values a column, and of whom each is silenced: False


def leave_one_out(model: Model, column: str, raw: Mapping[str, Sequence[Any]]) -> tuple[tuple[str, ...], Versions]:
    """The words, and what the model is told: first all, then all without each word in turn."""
    if any(len(given) != 1 for given in raw.values()) or column not in raw:
        raise UsageError("expected one prompt: influence is measured on one picture", hint="give one value for the words' column")
    prompt = raw[column][0]
    readers = {name: reader.encoder for name, reader in model.readers.items() if reader.column == column and not reader.of}
    spoken = any(isinstance(encoder, TextEncoder) for encoder in readers.values())
    words = words_of(prompt) if spoken else (str(prompt),)
    if not words:
        raise UsageError("nothing to leave out: the prompt has no word", hint="give a prompt of a word at least")
    left = without(prompt) if spoken else [""]
    told = {name: [given[0]] * (1 + len(words)) for name, given in raw.items()}
    told[column] = [prompt, *(rest or prompt for rest in left)]  # of those that are silent, what is read is not used
    keep = torch.tensor([True, *(bool(rest) for rest in left)])
    silenced = [name for name in readers if not keep.all()]
    for name in silenced:
        if model.ledger.never_silent(name):
            raise UsageError(
                f"without {words[0]!r} nothing is said, and this model was never trained with condition {name!r} silent",
                hint=f"train with `dropout:` above 0 on {name!r}, or ask about a prompt of two words",
            )
    return words, (told, dict.fromkeys(silenced, keep))


@dataclass(frozen=True, slots=True)
class Noised:
    """One picture at K noise levels: x (K, C, H, W) at the times t (K,), from much noise to little."""

    x: Tensor
    t: Tensor


def noised(model: Model, picture: Tensor, seed: int, levels: int) -> Noised:
    """A picture (C, H, W) in [-1, 1] under one noise, at the middles of `levels` equal spans of time."""
    clean = encoded(model, picture)
    noise = torch.randn(model.shape, generator=generator(seed, "influence")).to(clean)
    t = model.diffusion.grid(2 * levels).t[1::2].to(clean)
    batch = clean.expand(levels, *clean.shape[1:])
    return Noised(model.diffusion.noised(batch, noise.expand_as(batch), t), t)


def _measured(
    model: Model,
    words: tuple[str, ...],
    versions: Versions,
    drawn: Tensor,
    seed: int,
    levels: int,
    places: Mapping[str, Collection[str]],
) -> Influence:
    told = prepared(model, versions, 1 + len(words))
    met = noised(model, drawn, seed, levels)

    def taken(whose: Mapping[str, int]) -> Tensor:
        """The clean pictures (K, C, H, W) where each site hears version `whose` of the prompt. Every call is of one shape,
        so that a model which does not listen answers the same bit by bit."""
        signals = {site: version(made, whose.get(site, 0), levels) for site, made in told.items()}
        found = model.diffusion.clean(model.backbone(met.x, met.t, signals), met.x, met.t)
        clip = model.diffusion.clip
        return found if clip is None else found.clamp(-clip, clip)

    whole = taken({})

    def changed(number: int, sites: Collection[str]) -> Tensor:
        """(K, H, W), where these sites hear that version and all others the whole prompt."""
        return (taken(dict.fromkeys(sites, number)) - whole).abs().mean(dim=1).float().cpu()

    numbers = range(1, 1 + len(words))
    maps = torch.stack([changed(number, told) for number in numbers])
    by_place = {name: torch.stack([changed(number, sites) for number in numbers]) for name, sites in places.items()}
    return Influence(words, tuple(model.diffusion.levels(met.t)[1].tolist()), maps, by_place, drawn)


def prepared(model: Model, versions: Versions, n: int) -> Signals:
    """The signals of all versions, one after the other along the batch; a condition whose column is not told is silent."""
    told, keep = versions
    streams = {**{name: model.null(name, n) for name in model.told}, **model.encode(told)}
    return model.prepare(model.joined(model.silenced(streams, keep)))


def version(signals: Mapping[str, Any], number: int, n: int) -> Mapping[str, Any]:
    """One version's signals, n times."""
    return tree_map_only(Tensor, lambda leaf: leaf[number : number + 1].expand(n, *leaf.shape[1:]).contiguous(), signals)
