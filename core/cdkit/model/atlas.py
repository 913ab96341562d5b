"""atlas: where each word of a prompt acts in a picture: by leaving it out, and by attention where a method has it."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from cdkit.model.attention import attention, resized
from cdkit.model.draw import by_column, text_column
from cdkit.model.influence import Influence, influence, leave_one_out, noised, prepared, version
from cdkit.parts import Acting

if TYPE_CHECKING:
    from cdkit.model.model import Model
    from cdkit.model.network import Values


@dataclass(frozen=True, slots=True)
class Atlas:
    """W words, K noise levels from much to little, on one picture. All on the CPU, float32.

    influence: what leaving a word out changes; every method has it. attention: by site (W, K, h, w), the share of each place's
    attention that is the word's; empty where no method attends to words, or where the encoder cannot tell its tokens apart.
    """

    prompt: str
    influence: Influence
    attention: Mapping[str, Tensor]

    @property
    def words(self) -> tuple[str, ...]:
        return self.influence.words

    @property
    def sigmas(self) -> tuple[float, ...]:
        return self.influence.sigmas

    @property
    def attended(self) -> Tensor | None:
        """(W, K, H, W'): the mean of all sites' attention, at the influence's size; None where there is none."""
        if not self.attention:
            return None
        height, width = self.influence.maps.shape[2:]
        return torch.stack([resized(maps, height, width) for maps in self.attention.values()]).mean(dim=0)

    @property
    def acting(self) -> Acting:
        """What a metric is told of it."""
        return Acting(self.words, self.sigmas, self.influence.maps, self.attended)


def explain(
    model: Model,
    values: Values,
    *,
    seed: int = 0,
    guidance: float | None = None,
    levels: int = 4,
    places: Mapping[str, Collection[str]] | None = None,
    picture: Tensor | None = None,
) -> Atlas:
    """Where each word of one prompt acts.

    values: a prompt, or the values of one picture by column. seed, guidance: of the picture, which is drawn by the spec's
    sampler; or `picture` (C, H, W) in [-1, 1], which was drawn or photographed. levels: of noise, evenly spaced in time.
    places: sites whose influence is told apart, as for `influence`; each site where None.
    UsageError where `influence` raises it.
    """
    raw = dict(by_column(model, values))
    column = text_column(model)
    if raw.get(column) and isinstance(raw[column][0], str):
        raw[column] = [tidy(prompt) for prompt in raw[column]]
    found = influence(model, raw, seed=seed, guidance=guidance, levels=levels, places=places, picture=picture)
    _, versions = leave_one_out(model, column, raw)
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            told = version(prepared(model, versions, 1 + len(found.words)), 0, levels)
            met = noised(model, found.picture, seed, levels)
            heard = attention(model, column, str(raw[column][0]), met, told)
    finally:
        model.train(was_training)
    return Atlas(str(raw[column][0]), found, heard)


def tidy(prompt: str) -> str:
    """In Unicode's form C, one blank between two words: what encoders read anyway, and what their spans count in."""
    return " ".join(unicodedata.normalize("NFC", prompt).split())
