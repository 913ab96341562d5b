"""Influence: a word that acts nowhere is 0 to the bit, one that acts on the left is 0 on the right, and parts make the whole."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from cdkit.build import assemble
from cdkit.build.mount import Slot
from cdkit.conditions import Count
from cdkit.diffusion.random import generator
from cdkit.errors import UsageError
from cdkit.model import Model
from cdkit.model.influence import by_kind, influence, without, words_of
from cdkit.parts import Backbone, Signals, Site, Stream, Tap
from cdkit.spec import read_spec
from torch import Tensor, nn

DIGITS = Path(__file__).parents[3] / "specs" / "digits.yaml"
CROSS = "injectors=[{use: cross_attention, streams: [text], heads: 2}]"
FILM = "injectors=[{use: film, streams: [text]}]"
ADD = "injectors=[{use: add, streams: [text]}]"
BOTH = "injectors=[{use: cross_attention, streams: [text], heads: 2}, {use: add, streams: [text]}]"
Made = Callable[..., Model]


@pytest.fixture
def made() -> Made:
    """Random weights with every zero gate opened, so that whatever is said shows."""

    def model(*overrides: str) -> Model:
        small = ("backbone.width=16", "conditions.text.dim=16", "sampler.steps=2")
        found = assemble(read_spec(DIGITS, overrides=(*small, *overrides))).eval()
        draws = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for parameter in found.parameters():
                if not parameter.any():
                    parameter.normal_(std=0.1, generator=draws)
        found.ledger.counts["text"] = Count(told=9, silent=1)
        return found

    return model


def retold(model: Model, tap: Tap) -> Model:
    """Every method's tap replaced by this one."""
    for slot in model.modules():
        if isinstance(slot, Slot):
            for name in slot.taps:
                slot.taps[name] = tap
    return model


class Deaf(Tap):
    """The mutant that ignores its condition."""

    def prepare(self, *streams: Stream) -> Tensor:
        assert streams[0].tokens is not None
        return streams[0].tokens

    def forward(self, h: Tensor, signal: Tensor, emb: Tensor) -> Tensor:
        del signal, emb
        return h


class Left(Tap):
    """Adds how loud the words are to the left half of a map."""

    def prepare(self, *streams: Stream) -> Tensor:
        assert streams[0].pooled is not None
        return streams[0].pooled.sum(dim=1)

    def forward(self, h: Tensor, signal: Tensor, emb: Tensor) -> Tensor:
        del emb
        half = torch.zeros_like(h)
        half[..., : h.shape[-1] // 2] = 1
        return h + signal.view(-1, 1, 1, 1) * half


class Pointwise(Backbone):
    """A network of one place, in which no pixel knows another."""

    def __init__(self, slot: Slot) -> None:
        super().__init__()
        self.slot = slot
        self.gain = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor, t: Tensor, signals: Signals) -> Tensor:
        return self.gain * self.slot(x, signals, t.unsqueeze(1))


METHODS = ("adagn", "adaln_single", "adaln_zero", "add", "added_kv", "concat", "cross_attention", "film", "film_gain", "gated")
METHODS += ("in_context", "perceiver", "text_query", "weights")  # all that words alone can be given to


@pytest.mark.parametrize("method", METHODS)
def test_every_method_is_heard(made: Made, method: str) -> None:
    found = influence(made(f"injectors=[{{use: {method}, streams: [text]}}]"), "the digit seven", seed=3)
    assert found.words == ("the", "digit", "seven")
    assert found.maps.shape == (3, 4, 8, 8)
    assert bool((found.whole > 1e-5).all())
    assert list(found.sigmas) == sorted(found.sigmas, reverse=True)


def test_who_ignores_its_words_is_moved_by_none(made: Made) -> None:
    found = influence(retold(made(CROSS), Deaf()), "the digit seven")
    assert not found.maps.any()
    assert found.places
    assert not any(value.any() for value in found.places.values())


def test_a_word_that_acts_on_the_left_acts_nowhere_else(made: Made) -> None:
    like = made(FILM)
    slot = Slot(Site("here", "input", "map", 1, 1, 1), {"left": Left()})
    told = {"left": ("text",)}
    model = Model(like.spec, readers=like.readers, backbone=Pointwise(slot), slots=[slot], streams=told, diffusion=like.diffusion)
    model.ledger = like.ledger
    maps = influence(model, "the digit seven").maps
    assert bool((maps[..., :4].mean(dim=(2, 3)) > 0).all())
    assert not maps[..., 4:].any()


def test_all_sites_together_are_the_whole(made: Made) -> None:
    model = made(BOTH)
    sites = [site.name for site in model.sites]
    found = influence(model, "the digit seven", places={"all": sites, "none": []})
    assert torch.equal(found.places["all"], found.whole)
    assert not found.places["none"].any()
    apart = influence(model, "the digit seven")
    assert set(apart.places) == set(sites)
    assert all(not torch.allclose(value, apart.whole) for value in apart.places.values())


def test_the_only_site_has_all_of_it(made: Made) -> None:
    found = influence(made(ADD), "the digit seven")
    assert len(found.places) == 1
    assert torch.equal(next(iter(found.places.values())), found.whole)


def test_by_kind(made: Made) -> None:
    model = made(BOTH)
    assert set(by_kind(model)) == {"attend", "embed"}
    assert set(influence(model, "a seven", places=by_kind(model)).places) == {"attend", "embed"}


def test_the_only_word_left_out_is_the_null(made: Made) -> None:
    """By hand, at one level: what is said, and the null of guidance."""
    model = made(CROSS)
    found = influence(model, "seven", seed=3, levels=1)
    assert model.diffusion.clip == 1
    clean = model.sample(["seven"], seeds=[3]).images
    t = model.diffusion.grid(2).t[1:2].float()
    noise = torch.randn(model.shape, generator=generator(3, "influence")).unsqueeze(0)
    with torch.no_grad():
        x = model.diffusion.noised(clean, noise, t)
        said, silent = (
            model.diffusion.clean(model(x, t, {"text": ["seven"]}, {"text": torch.tensor([keep])}), x, t).clamp(-1, 1)
            for keep in (True, False)
        )
    assert torch.allclose(found.maps[0], (said - silent).abs().mean(dim=1), atol=1e-5)
    assert found.sigmas == pytest.approx([float(model.diffusion.levels(t)[1])])


def test_a_class_is_one_word(made: Made) -> None:
    """An encoder that reads no text is told the whole value, or nothing."""
    model = made(
        "conditions.text=null",
        "conditions.label={use: label, names: [six, seven], dim: 16, dropout: 0.1}",
        "injectors=[{use: add, streams: [label]}]",
    )
    model.ledger.counts["label"] = Count(told=9, silent=1)
    found = influence(model, "seven")
    assert found.words == ("seven",)
    assert float(found.whole.min()) > 0


def test_what_is_no_word_cannot_be_left_out(made: Made) -> None:
    model = made(CROSS)
    with pytest.raises(UsageError, match="the prompt has no word"):
        influence(model, "  ")
    with pytest.raises(UsageError, match="expected one prompt"):
        influence(model, ["one", "two"])
    model.ledger.counts["text"] = Count(told=9, silent=0)
    with pytest.raises(UsageError, match="without 'seven' nothing is said, and this model was never trained with"):
        influence(model, "seven", guidance=1.0)
    assert influence(model, "a seven", guidance=1.0).words == ("a", "seven")


def test_words() -> None:
    assert words_of("a red  cat") == ("a", "red", "cat")
    assert without("a red  cat") == ["red cat", "a cat", "a red"]
    assert words_of("红色的猫") == ("红", "色", "的", "猫")
    assert words_of("火箭，fluent 风格。") == ("火", "箭", "fluent", "风", "格"), "punctuation is part of no word"
    assert without("火箭，fluent。")[-1] == "火箭，。"
    assert without("数字7 ok") == ["字7 ok", "数7 ok", "数字 ok", "数字7"]
    assert without("seven") == [""]
