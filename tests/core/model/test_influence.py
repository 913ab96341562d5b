"""Leaving a word out shows where it acts: nowhere in a deaf model, in one half where it is mounted there, and by place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from cdkit.build import assemble
from cdkit.model import Model
from cdkit.model.influence import Influence, influence, place_of, told, words_of
from cdkit.parts import Signals, Site, Stream, Tap, Widths
from cdkit.registry import Registry
from cdkit.spec import read_spec
from torch import Tensor, nn
from torch.utils import _pytree as pytree

DIGITS = Path(__file__).parents[3] / "specs" / "digits.yaml"
TINY = (
    "backbone.width=8", "backbone.heads=1", "conditions.text.dim=8", "conditions.text.heads=1", "sampler.steps=2",
    "diffusion.clip=null",
)  # fmt: skip
PROMPT = "a red seven"


class Half(Tap):
    """Adds what it hears to the left half of a map."""

    def __init__(self, site: Site, width: int) -> None:
        super().__init__()
        self.read = nn.Linear(width, site.width)

    def prepare(self, *streams: Stream) -> Tensor:
        assert streams[0].pooled is not None
        return self.read(streams[0].pooled)

    def forward(self, h: Tensor, signal: Tensor, emb: Tensor) -> Tensor:
        del emb
        left = (torch.arange(h.shape[-1], device=h.device) < h.shape[-1] // 2).to(h)
        return h + signal[..., None, None] * left


class Halves:
    """Mounted right after the stem."""

    def __init__(self, streams: tuple[str, ...], widths: tuple[Widths, ...]) -> None:
        self.streams, self.width = streams, widths[0].pooled

    def tap(self, site: Site) -> Tap | None:
        return Half(site, self.width) if site.kind == "input" else None


class Seen(nn.Module):
    """A network that is nothing but its one place: no convolution carries what is heard to the other half."""

    def __init__(self, slot: nn.Module) -> None:
        super().__init__()
        self.slot = slot

    def forward(self, x: Tensor, t: Tensor, signals: Signals) -> Tensor:
        return self.slot(x.expand(-1, self.slot.site.width, -1, -1), signals, t)[:, :1]


def woken(model: Model) -> Model:
    """With every weight that starts at zero drawn, as after some training."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in model.parameters():
            if not weight.any():
                weight.copy_(torch.randn(weight.shape, generator=generator) * 0.05)
    return model.eval()


@pytest.fixture
def made() -> Callable[..., Model]:
    def make(*overrides: str) -> Model:
        return woken(assemble(read_spec(DIGITS, overrides=(*TINY, "guidance=null", *overrides))))

    return make


def test_words_are_left_out_one_by_one() -> None:
    assert list(words_of(" a  red seven ")) == [("a", "red seven"), ("red", "a seven"), ("seven", "a red")]
    assert [word for word, _ in words_of("猫脸，twemoji 风格")] == ["猫", "脸", "，twemoji", "风", "格"]
    assert list(words_of("seven")) == [("seven", "")]
    assert list(words_of("  ")) == []


def test_places_are_parts_of_the_network() -> None:
    assert [place_of(site) for site in ("down.1.res.0.norm1", "mid.res.0.norm", "time", "blocks.3.attend")] == [
        "down.1",
        "mid",
        "time",
        "blocks.3",
    ]


@pytest.mark.parametrize("use", ["cross_attention", "film", "add", "text_query", "added_kv", "in_context", "adagn"])
def test_every_method_has_an_influence_of_its_words(made: Callable[..., Model], use: str) -> None:
    found = influence(made(f"injectors=[{{use: {use}, streams: [text]}}]"), PROMPT)
    assert found.words == ("a", "red", "seven")
    assert found.maps.shape == (3, 4, 8, 8)
    assert found.shares.shape == (3, len(found.places))
    assert (found.maps.amax((2, 3)) > 0).all()
    assert (found.shares.sum(1) > 0).all()


def test_a_deaf_model_moves_nowhere(made: Callable[..., Model]) -> None:
    """The mutant that ignores its condition: all taps take the first row's signal."""
    model = made()
    hears = type(model).prepare

    def deaf(conditioning: dict[str, Stream]) -> Signals:
        signals = hears(model, conditioning)
        return {site: {name: signal_of_first(kept) for name, kept in taps.items()} for site, taps in signals.items()}

    model.prepare = deaf  # type: ignore[method-assign]
    found = influence(model, PROMPT)
    assert found.maps.abs().max() < 1e-6
    assert found.shares.abs().max() < 1e-6


def signal_of_first(signal: object) -> object:
    return pytree.tree_map_only(Tensor, lambda leaf: leaf[:1].expand_as(leaf), signal)


def test_a_method_of_one_place_has_all_of_its_influence_there(made: Callable[..., Model]) -> None:
    found = influence(made("injectors=[{use: add, streams: [text]}]"), PROMPT)
    assert len(found.places) == 1
    assert torch.allclose(found.shares[:, 0], found.maps.mean((1, 2, 3)), rtol=1e-4)


def test_a_word_that_acts_on_the_left_leaves_the_right_alone() -> None:
    registry = Registry.installed().extended({("injector", "halves"): Halves})
    spec = read_spec(DIGITS, overrides=(*TINY, "guidance=null", "injectors=[{use: halves, streams: [text]}]"), registry=registry)
    model = woken(assemble(spec))

    model.backbone = Seen(model._slots[0])
    found = influence(model, {"text": [PROMPT]})
    assert (found.maps[..., :4].amax((2, 3)) > 0).all()
    assert (found.maps[..., 4:] == 0).all()


def test_a_lone_word_is_compared_with_silence(made: Callable[..., Model]) -> None:
    """What training's dropout says, not an empty prompt."""
    model = made("injectors=[{use: add, streams: [text]}]")
    assert influence(model, "seven").words == ("seven",)
    signals = told(model, {"text": ["seven"]}, "text", ["seven", ""])
    silent = model.prepare(model.joined({"text": model.null("text", 1)}))
    for site, taps in signals.items():
        for name, signal in taps.items():
            for ours, nulls in zip(pytree.tree_leaves(signal), pytree.tree_leaves(silent[site][name]), strict=True):
                assert torch.allclose(ours[1:], nulls, atol=1e-6)


def test_the_same_question_has_the_same_answer(made: Callable[..., Model]) -> None:
    def ask() -> Influence:
        return influence(made(), PROMPT, seed=3)

    one, other = ask(), ask()
    assert torch.equal(one.maps, other.maps)
    assert torch.equal(one.shares, other.shares)
    assert not torch.equal(one.maps, influence(made(), PROMPT, seed=4).maps)
