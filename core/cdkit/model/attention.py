"""attention: how much of each place's attention goes to each word, where a method has attention that says so.

The maps of DAAM (Tang et al. 2022, arXiv 2210.04885), one place and noise level at a time. They are computed beside the
network's own pass, of the same h and signals, so drawing is not slowed where nobody looks.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cdkit.model.influence import WORD, Noised
from cdkit.parts import Signals, Site, Tap, TextEncoder

if TYPE_CHECKING:
    from cdkit.model.model import Model


def attention(model: Model, column: str, prompt: str, met: Noised, signals: Signals) -> dict[str, Tensor]:
    """(W, K, h, w) by site: the share of each place's attention that is each word's, the mean of the heads, on the CPU.

    Empty where no method attends to tokens that can be told from each other. signals: of K rows.
    """
    places = listeners(model, column, prompt)
    with recording(model, list(places)) as found:
        model.backbone(met.x, met.t, signals)
    maps: dict[str, Tensor] = {}
    for (site, injector), weights in found.items():
        name = site.name if site.name not in maps else f"{site.name} {injector}"
        maps[name] = laid_out(model, site, by_word(weights, places[site, injector]))
    return maps


def listeners(model: Model, column: str, prompt: str) -> dict[tuple[Site, str], list[list[int]]]:
    """The taps that read the prompt's tokens and attend to them, with the tokens of each word."""
    tokens = {
        name: tokens_of(reader.encoder, prompt)
        for name, reader in model.readers.items()
        if reader.column == column and isinstance(reader.encoder, TextEncoder)
    }
    read = {injector.name: injector.streams[0] for injector in model.spec.injectors}
    return {
        (site, name): words
        for site, taps in model.taps.items()
        for name, tap in taps.items()
        if isinstance(tap, Tap) and (words := tokens.get(read[name]))
    }


def tokens_of(encoder: TextEncoder, prompt: str) -> list[list[int]] | None:
    """For each word which tokens were read from it; None where the encoder cannot say."""
    spans = encoder.spans(prompt)
    if spans is None:
        return None
    words = [found.span() for found in WORD.finditer(prompt)]
    return [[place for place, (start, end) in enumerate(spans) if start < last and end > first] for first, last in words]


@contextmanager
def recording(model: Model, places: Sequence[tuple[Site, str]]) -> Generator[dict[tuple[Site, str], Tensor]]:
    """What the taps at these places say of their attention while it lasts, (K, N, L) each, the mean of the heads."""
    found: dict[tuple[Site, str], Tensor] = {}

    def note(place: tuple[Site, str], tap: nn.Module, given: tuple[Any, ...]) -> None:
        assert isinstance(tap, Tap)
        weights = tap.attention(*given[:2])
        if weights is not None:
            found[place] = weights.float().mean(dim=1).cpu()

    taps = model.taps
    hooks = [taps[site][name].register_forward_pre_hook(partial(note, (site, name))) for site, name in places]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def by_word(weights: Tensor, tokens: Sequence[Sequence[int]]) -> Tensor:
    """(K, N, L) -> (W, K, N): the tokens of a word together."""
    return torch.stack([weights[..., list(places)].sum(dim=-1) for places in tokens])


def laid_out(model: Model, site: Site, rows: Tensor) -> Tensor:
    """(W, K, N) -> (W, K, h, w), the places of a site; of a picture that was padded, its own pixels, without the rim."""
    height, width = model.shape[1:]
    padded = [-(-side // site.padded) * site.padded for side in (height, width)]
    maps = rows.unflatten(2, [side // site.stride for side in padded])
    if padded == [height, width]:
        return maps
    top, left = (padded[0] - height) // 2, (padded[1] - width) // 2
    return resized(maps, *padded)[..., top : top + height, left : left + width]


def resized(maps: Tensor, height: int, width: int) -> Tensor:
    """(W, K, h, w) at a picture's size, between the places bilinearly."""
    return F.interpolate(maps, (height, width), mode="bilinear", align_corners=False)
