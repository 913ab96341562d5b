"""Scenes: what the words say is checked against the pixels, by an eye that knows neither scene nor words."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from cdkit.parts import Example
from cdkit_data.scene import COLOURS, HELD_OUT, RELATIONS, SHAPES, Scene, Thing
from cdkit_data.scene_words import COLOURS as CHINESE_COLOURS
from cdkit_data.scene_words import RELATIONS as CHINESE_RELATIONS
from cdkit_data.scene_words import values
from cdkit_data.shapes import Shapes
from cdkit_data.splits import SPLITS
from scipy import ndimage

DATA = Shapes(count=600)
EXAMPLES = [example for name in SPLITS for example in DATA.split(name)]


def pixels(example: Example) -> Any:
    """(H, W, 3), 0 to 255."""
    return ((example.image + 1) * 127.5).permute(1, 2, 0).numpy()


def seen(example: Example) -> list[dict[str, Any]]:
    """What can be seen: every patch of light with its colour, shape and place."""
    picture = pixels(example)
    patches, count = ndimage.label(picture.max(axis=-1) > 100, structure=np.ones((3, 3)))
    return [patch(picture, patches == number) for number in range(1, count + 1)]


def patch(picture: Any, where: Any) -> dict[str, Any]:
    rows, columns = np.nonzero(where)
    brightest = np.median(picture[where & (ndimage.binary_erosion(where) | (where.sum() < 12))], axis=0)
    colour = min(COLOURS, key=lambda name: float(np.abs(brightest - np.array(COLOURS[name])).sum()))
    height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
    return {"colour": colour, "x": columns.mean(), "y": rows.mean(), "filled": where.sum() / (height * width), "width": width}


def test_there_are_as_many_things_as_said_in_the_colours_said() -> None:
    for example in EXAMPLES:
        said = [example.values[f"colour.{place}"][0] for place in (1, 2)]
        assert sorted(one["colour"] for one in seen(example)) == sorted(colour for colour in said if colour != "none")


def test_relations_are_true() -> None:
    counted = dict.fromkeys(RELATIONS, 0)
    for example in EXAMPLES:
        relation = example.values["relation"][0]
        if relation == "none" or example.values["colour.1"] == example.values["colour.2"]:
            continue
        first, second = (
            next(one for one in seen(example) if one["colour"] == example.values[f"colour.{place}"][0]) for place in (1, 2)
        )
        right, down = second["x"] - first["x"], second["y"] - first["y"]
        apart = {"left of": right, "right of": -right, "above": down, "below": -down}[relation]
        across = abs(down) if relation in ("left of", "right of") else abs(right)
        assert apart > across, "the relation is the main thing about where they are"
        counted[relation] += 1
    assert min(counted.values()) > 30


def test_shapes_and_sizes_look_as_said() -> None:
    filled: dict[str, list[float]] = {shape: [] for shape in SHAPES}
    widths: dict[str, list[int]] = {"small": [], "large": []}
    for example in EXAMPLES:
        if example.values["relation"][0] == "none":
            (one,) = seen(example)
            if example.values["size.1"] == ("large",):
                filled[example.values["shape.1"][0]].append(one["filled"])
            widths[example.values["size.1"][0]].append(one["width"])
    means = {shape: float(np.mean(values)) for shape, values in filled.items()}
    assert means["triangle"] < 0.68 < means["circle"] < 0.9 < means["square"]
    assert max(widths["small"]) < min(widths["large"])


def test_masks_are_the_things() -> None:
    for example in EXAMPLES[:200]:
        (mask,) = example.values["mask"]
        assert mask.shape == (2, 32, 32)
        assert 0 <= mask.min() <= mask.max() <= 1
        colours = [COLOURS.get(example.values[f"colour.{place}"][0], (0, 0, 0)) for place in (1, 2)]
        painted = torch.einsum("khw,kc->chw", mask, torch.tensor(colours, dtype=torch.float32)) / 127.5 - 1
        assert torch.allclose(painted, example.image, atol=0.01)
        assert not ((mask[0] > 0) & (mask[1] > 0)).any(), "things do not touch"
        if example.values["colour.2"] == ("none",):
            assert mask[1].max() == 0


def test_the_test_split_holds_combinations_never_trained_on() -> None:
    def pairs(example: Example) -> set[Any]:
        return {(example.values[f"colour.{place}"][0], example.values[f"shape.{place}"][0]) for place in (1, 2)}

    trained = {pair for name in ("train", "validation") for example in DATA.split(name) for pair in pairs(example)}
    assert not trained & HELD_OUT
    assert all(pairs(example) & HELD_OUT for example in DATA.split("test"))
    assert set().union(*(pairs(example) for example in DATA.split("test"))) >= HELD_OUT
    for colour, shape in HELD_OUT:
        assert {colour} <= {pair[0] for pair in trained}
        assert {shape} <= {pair[1] for pair in trained}


def test_captions_name_what_is_there_in_order() -> None:
    for example in EXAMPLES:
        first, second = (f"{example.values[f'colour.{place}'][0]} {example.values[f'shape.{place}'][0]}" for place in (1, 2))
        relation = example.values["relation"][0]
        english, chinese = example.values["text.en"], example.values["text.zh"]
        assert example.values["text"] == (*english, *chinese)
        assert example.values["label"] == (first,)
        if relation == "none":
            assert f"a {first}" in english
        else:
            assert f"a {first} {relation} a {second}" in english
            assert all(CHINESE_RELATIONS[relation] in text or relation_back(relation) in text for text in chinese)
        assert all(CHINESE_COLOURS[example.values["colour.1"][0]] in text for text in chinese)


def relation_back(relation: str) -> str:
    opposite = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}
    return CHINESE_RELATIONS[opposite[relation]]


def test_the_example_of_the_project_can_be_said() -> None:
    red = Thing("red", "circle", "small", 0.2, 0.5, 0.1)
    blue = Thing("blue", "square", "large", 0.7, 0.5, 0.2)
    for scene in (Scene((red, blue), "left of"), Scene((blue, red), "right of")):
        said = values(scene, 2)
        assert "a small red circle left of a blue square" in said["text.en"]
        assert "a large blue square right of a red circle" in said["text.en"]
        assert {"蓝色方块左边的小红圆", "红色圆右边的大蓝方块"} <= set(said["text.zh"])
        assert not [text for text in said["text"] if "above" in text or "下面" in text]
        assert len(said["text"]) == len(set(said["text"]))


def test_everything_follows_from_the_index() -> None:
    again, more = Shapes(count=600), Shapes(count=700)
    assert again.fingerprint() == DATA.fingerprint() != more.fingerprint()
    for name in SPLITS:
        assert more.split(name).table.ids[: len(DATA.split(name))] == DATA.split(name).table.ids
    ids = [example.id for example in EXAMPLES]
    assert len(ids) == len(set(ids)) == 600
    assert DATA.split("train")[0].id == "ec7ac8069d56b8e9", "the same picture on every machine"


def test_one_object_and_other_sizes() -> None:
    data = Shapes(count=50, objects=1, size=48)
    example = data.split("train")[0]
    assert example.image.shape == (3, 48, 48)
    assert example.values["mask"][0].shape == (1, 48, 48)
    assert set(example.values) == set(data.columns)
    assert "relation" not in data.columns
    assert len(data.classes) == len(COLOURS) * len(SHAPES)
    assert example.values["label"][0] in data.classes
    assert all(set(one.values) == set(DATA.columns) for one in EXAMPLES)


def test_nothing_is_varied_in_training() -> None:
    example = EXAMPLES[0]
    assert DATA.augment(example, torch.Generator().manual_seed(0)) is example


def test_options_are_checked() -> None:
    with pytest.raises(ValueError, match=r"size 8, count 10, objects 1: expected size >= 16, count >= 10, objects 1 or 2"):
        Shapes(size=8, count=10, objects=1)


# --------------------------------------------------------------------------- how a picture came about, as SDXL is told it


FRAMED = Shapes(size=16, count=600, objects=1, originals=(4, 16), margin=2)


def sharpness(example: Example) -> float:
    """The largest step from a row to the next, of [-1, 1]."""
    return float((example.image[:, 1:] - example.image[:, :-1]).abs().max())


def test_sizes_say_how_a_picture_was_drawn_and_cut() -> None:
    examples = [example for name in SPLITS for example in FRAMED.split(name)]
    told = [example.values["sizes"][0] for example in examples]
    assert {(size[0], size[1]) for size in told} == {(4, 4), (16, 16)}
    assert {size[2:4] for size in told} == {(top, left) for top in range(3) for left in range(3)}
    assert {size[4:] for size in told} == {(16, 16)}
    few, many = ([sharpness(one) for one in examples if one.values["sizes"][0][0] == rows] for rows in (4, 16))
    assert max(few) < np.median(many), "what was drawn with few rows is blurred"


def test_the_cut_is_where_it_is_said() -> None:
    """The one picture, larger by the margin, holds every cut of it at the place that is told."""
    wide = Shapes(size=18, count=200, objects=1)
    cut = Shapes(size=16, count=200, objects=1, originals=(18,), margin=2)
    for name in SPLITS:
        whole = {example.values["text"]: [] for example in wide.split(name)}
        for example in wide.split(name):
            whole[example.values["text"]].append(example.image)
        for example in cut.split(name):
            _, _, top, left, rows, columns = example.values["sizes"][0]
            parts = [image[:, top : top + rows, left : left + columns] for image in whole[example.values["text"]]]
            assert any(torch.equal(part, example.image) for part in parts)


def test_masks_are_cut_alike() -> None:
    for example in list(FRAMED.split("train"))[:100]:
        light, mask = (example.image + 1).amax(0) / 2, example.values["mask"][0][0]
        assert torch.equal(light > 0.3, (mask * max(COLOURS[example.values["colour.1"][0]]) / 255) > 0.3)


def test_without_them_nothing_is_said_and_nothing_changes() -> None:
    assert "sizes" not in DATA.columns
    assert "sizes" not in EXAMPLES[0].values
    assert FRAMED.columns[-2:] == ("sizes", "mask")
    prints = {Shapes(size=16, count=50, **options).fingerprint() for options in ({}, {"margin": 1}, {"originals": (8,)})}
    assert len(prints) == 3


def test_a_margin_that_cuts_things_away_is_refused() -> None:
    with pytest.raises(ValueError, match="margin is 3; expected at most 2, an eighth of size 16: more cuts things away"):
        Shapes(size=16, margin=3)
