"""attributes: by hand on scenes; and models that exchange colours, exchange places, or cannot bind what they never saw."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from cdkit.parts import DataError, Dataset, Example, SampleShape
from cdkit_data.digits import Digits
from cdkit_data.shapes import Shapes
from cdkit_metrics.attributes import Attributes, compared, lies_right
from cdkit_metrics.evaluator import FOLDER
from cdkit_metrics.scene_reader import halves, reader_of
from cdkit_metrics.scenes import Layout, Scene, layout_of, trained_pairs
from torch import Tensor

LAYOUT = Layout(("colour", "shape"), 2, related=True)
RED, GREEN = ("red", "circle"), ("green", "square")
COLOURS = {"red": (1.0, -1.0, -1.0), "green": (-1.0, 1.0, -1.0), "blue": (-1.0, -1.0, 1.0)}
FORMS = ("plain", "striped", "dotted")
OPPOSITE = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}


@dataclass(frozen=True)
class Told:
    """Two things and how the first lies from the second, as a caption says it."""

    first: tuple[str, str]
    second: tuple[str, str]
    relation: str

    def picture(self) -> Tensor:
        """(3, 8, 8): each thing fills its half."""
        image = torch.empty(3, 8, 8)
        beside, in_order = self.relation in ("left of", "right of"), self.relation in ("left of", "above")
        things = (self.first, self.second) if in_order else (self.second, self.first)
        for part, (colour, form) in zip(image.chunk(2, 2 if beside else 1), things, strict=True):
            _, height, width = part.shape
            part[:] = torch.tensor(COLOURS[colour])[:, None, None] * texture(form)[:height, :width]
        return image

    def values(self) -> dict[str, tuple[str, ...]]:
        said = f"{' '.join(self.first)} {self.relation} {' '.join(self.second)}"
        values = {"text": (said,), "text.en": (said,), "relation": (self.relation,)}
        for place, (colour, form) in enumerate((self.first, self.second), 1):
            values |= {f"colour.{place}": (colour,), f"form.{place}": (form,)}
        return values


def texture(form: str) -> Tensor:
    stripes = torch.tensor([1.0, 0.0] * 4).repeat(8, 1)
    return {"plain": torch.ones(8, 8), "striped": stripes, "dotted": stripes * stripes.T}[form]


class Halves(Dataset):
    """Pictures of two halves. Nothing that is trained on is green and dotted; all of the test split is."""

    shape = SampleShape(3, 8, 8)
    columns = ("text", "text.en", "colour.1", "form.1", "colour.2", "form.2", "relation")

    def split(self, name: Literal["train", "validation", "test"]) -> Sequence[Example]:
        return self._splits[name]

    def fingerprint(self) -> str:
        return "halves"

    @cached_property
    def _splits(self) -> dict[str, list[Example]]:
        return {"train": examples("train", 700), "validation": examples("validation", 120), "test": examples("test", 240)}


def examples(split: str, n: int) -> list[Example]:
    lots = random.Random(split)
    pairs = [(colour, form) for colour in COLOURS for form in FORMS if (colour, form) != ("green", "dotted")]
    found: list[Example] = []
    for number in range(n):
        first, second = lots.sample(pairs, 2)
        if split == "test":
            first = ("green", "dotted")
        told = Told(*((first, second) if lots.random() < 0.5 else (second, first)), lots.choice(list(OPPOSITE)))
        noise = torch.randn(3, 8, 8, generator=torch.Generator().manual_seed(lots.getrandbits(32)))
        found.append(Example(f"{split}{number}", told.picture() + 0.1 * noise, told.values()))
    return found


class Draws:
    """Draws what it is told, after a change."""

    def __init__(self, change: Callable[[Told], Told] = lambda told: told) -> None:
        self.change = change

    def __call__(self, values: Mapping[str, Sequence[Any]], seeds: Sequence[int]) -> Tensor:
        del seeds
        rows = zip(*(values[column] for column in Halves.columns[2:]), strict=True)
        return torch.stack([self.change(Told((a, b), (c, d), relation)).picture() for a, b, c, d, relation in rows])


def exchanged(told: Told) -> Told:
    return Told((told.second[0], told.first[1]), (told.first[0], told.second[1]), told.relation)


def turned(told: Told) -> Told:
    return replace(told, relation=OPPOSITE[told.relation])


def unbound(told: Told) -> Told:
    """What was never trained on is drawn as something like it."""
    first, second = (("green", "striped") if thing == ("green", "dotted") else thing for thing in (told.first, told.second))
    return replace(told, first=first, second=second)


@pytest.fixture(scope="module")
def judged(stub: Any, cache: Path) -> Callable[..., Mapping[str, Any]]:
    data = Halves()

    def ask(draws: Callable[..., Tensor], **options: Any) -> Mapping[str, Any]:
        return Attributes(epochs=15, **options)(stub(data, cache, draws))

    return ask


def shares(result: Mapping[str, Any], kind: str, of: str = "attributes") -> dict[str, float]:
    return {name: share["share"] for name, share in result[of][kind].items()}


def test_two_ways_of_telling_are_one_scene() -> None:
    one, other = Told(RED, GREEN, "left of"), Told(GREEN, RED, "right of")
    layout = Layout(("colour", "form"), 2, related=True)
    scenes = [
        layout.scene(Example("", torch.zeros(1), told.values())) for told in (one, other, replace(one, relation="right of"))
    ]
    assert scenes[0] == scenes[1] == Scene((RED, GREEN), "left of")
    assert scenes[2] == Scene((GREEN, RED), "left of")


def test_one_thing_and_none_are_told_whatever_their_place() -> None:
    alone = {"colour.1": ("none",), "shape.1": ("none",), "colour.2": ("red",), "shape.2": ("circle",), "relation": ("none",)}
    scene = LAYOUT.scene(Example("", torch.zeros(1), alone))
    assert scene == Scene((RED, ("none", "none")), "none")
    assert scene.there == (RED,)


def test_attributes_are_counted_alone_and_bound() -> None:
    """Colours exchanged: every colour and every shape is there, and no thing is."""
    said = [Scene((RED, GREEN), "left of")]
    seen = [Scene((("green", "circle"), ("red", "square")), "left of")]
    found = compared(LAYOUT, said, seen)
    assert {name: (share.count, share.n) for name, share in found.items()} == {
        "colour": (2, 2),
        "shape": (2, 2),
        "colour + shape": (0, 2),
        "relation": (0, 1),
    }


def test_what_was_said_twice_must_be_there_twice() -> None:
    said = [Scene((RED, ("red", "square")), "above")]
    found = compared(LAYOUT, said, [Scene((RED, GREEN), "above")])
    assert (found["colour"].count, found["shape"].count, found["colour + shape"].count) == (1, 2, 1)
    none = compared(LAYOUT, said, [Scene((RED, ("none", "none")), "none")])
    assert (none["colour"].count, none["colour"].n, none["relation"].count) == (1, 2, 0)


def test_a_relation_needs_its_axis_and_its_order() -> None:
    said = Scene((RED, GREEN), "left of")
    assert lies_right(said, said)
    assert lies_right(said, Scene((RED, ("blue", "square")), "left of")), "what the second is does not matter that much"
    assert not lies_right(said, Scene((RED, GREEN), "above"))
    assert not lies_right(said, Scene((GREEN, RED), "left of"))
    assert not lies_right(said, Scene((("blue", "triangle"),) * 2, "left of")), "nobody can say which is which"


def test_a_model_that_draws_what_it_is_told_scores_what_real_pictures_score(judged: Any) -> None:
    result = judged(Draws())
    assert result["drawn"]["share"] >= 0.9
    for kind in ("seen", "unseen"):
        assert result["kinds"][kind]["share"] >= 0.9
        assert min(shares(result, kind).values()) >= 0.95
        assert min(shares(result, kind, "real").values()) >= 0.95
        unheard = shares(result, kind, "unheard")
        assert unheard["colour + form"] < 0.6
        assert unheard["relation"] < 0.5
    assert result["drawn"]["n"] == len(halves(Halves().split("test"))[1])
    assert result["kinds"]["unseen"] == result["drawn"]
    assert len(result["pictures"]) == result["drawn"]["n"]
    assert sum(result["pictures"].values()) == result["drawn"]["count"]


def test_exchanged_colours_are_bound_wrong(judged: Any) -> None:
    """Of a pair of one colour or one form nothing is exchanged."""
    result = judged(Draws(exchanged))
    for kind in ("seen", "unseen"):
        found = shares(result, kind)
        assert min(found["colour"], found["form"]) >= 0.95
        assert found["colour + form"] < 0.65
    assert result["drawn"]["share"] < 0.65


def test_exchanged_places_are_the_relation_alone(judged: Any) -> None:
    found = shares(judged(Draws(turned)), "seen")
    assert found["colour + form"] >= 0.95
    assert found["relation"] <= 0.05


def test_what_was_never_seen_together_stands_apart(judged: Any) -> None:
    result = judged(Draws(unbound))
    assert result["kinds"]["seen"]["share"] >= 0.9
    assert result["kinds"]["unseen"]["share"] <= 0.05
    assert shares(result, "unseen")["colour"] >= 0.95
    assert shares(result, "unseen")["form"] < 0.7


def test_a_split_of_seen_ones_is_asked_about_alone(judged: Any) -> None:
    result = judged(Draws(), split="validation", pictures=30)
    assert list(result["kinds"]) == ["seen"]
    assert result["drawn"]["n"] == 30


def test_the_reader_comes_out_of_the_cache_the_same(judged: Any, stub: Any, cache: Path) -> None:
    judged(Draws(), pictures=10)
    examinee = stub(Halves(), cache)
    reader = reader_of(examinee, epochs=15)
    assert examinee.said == []
    assert list((cache / FOLDER).glob("halves-scenes-*.safetensors"))
    images = torch.stack([example.image for example in Halves().split("validation")])
    fresh = reader_of(stub(Halves(), cache / "elsewhere"), epochs=15)
    assert fresh.read(images) == reader.read(images)


def test_shapes_hold_three_pairs_back() -> None:
    """In the test split alone there are things whose colour and shape no other picture has together."""
    data = Shapes(size=16, count=600)
    layout = layout_of(data)
    assert layout == Layout(("colour", "shape", "size"), 2, related=True)
    known = trained_pairs(layout, data.split("train"))
    news = {pair for example in data.split("test") for pair in layout.pairs(layout.scene(example)) - known}
    assert news == {
        (("colour", "green"), ("shape", "circle")),
        (("colour", "yellow"), ("shape", "square")),
        (("colour", "purple"), ("shape", "triangle")),
    }
    assert all(layout.pairs(layout.scene(example)) <= known for example in data.split("validation"))


def test_a_set_that_says_nothing_of_things_is_refused(digits: Digits, cache: Path, stub: Any) -> None:
    with pytest.raises(DataError, match=r"Digits has no columns such as colour.1 and shape.1, .* it has text,") as found:
        Attributes()(stub(digits, cache))
    assert found.value.hint == "score it by `said_drawn` or `identification`"


def test_a_set_that_forgets_a_column_is_refused() -> None:
    class Forgetful(Halves):
        columns = ("text", "colour.1", "form.1", "colour.2")

    with pytest.raises(DataError, match=r"Forgetful misses form\.2, so nothing can say what each thing in a picture is"):
        layout_of(Forgetful())
