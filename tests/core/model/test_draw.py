"""Drawing: a picture is its own seed's and its own words', whatever is drawn beside it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from cdkit.build import assemble
from cdkit.conditions import Count
from cdkit.errors import UsageError
from cdkit.model import Model
from cdkit.spec import read_spec
from PIL import Image

DIGITS = Path(__file__).parents[3] / "specs" / "digits.yaml"


@pytest.fixture(scope="module")
def model() -> Model:
    """Random weights with every zero gate opened, so that whatever is said shows."""
    spec = read_spec(DIGITS, overrides=("backbone.width=16", "conditions.text.dim=16", "sampler.steps=4"))
    made = assemble(spec).eval()
    draws = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in made.parameters():
            if not parameter.any():
                parameter.normal_(std=0.1, generator=draws)
    made.ledger.counts["text"] = Count(told=9, silent=1)
    return made


def test_a_picture_depends_on_its_own_seed_alone(model: Model) -> None:
    many = model.sample(["seven", "three", "one"], seed=5).images
    alone = model.sample(["three"], seed=6).images
    assert torch.allclose(many[1], alone[0], atol=1e-5)
    assert not torch.allclose(model.sample(["three"], seed=7).images, alone, atol=1e-2)


@pytest.mark.parametrize("batch", [1, 2, 7])
def test_the_batch_size_changes_nothing(model: Model, batch: int) -> None:
    prompts = ["one", "two", "three", "four"]
    assert torch.allclose(model.sample(prompts, batch=batch).images, model.sample(prompts).images, atol=1e-5)


def test_what_is_said_shows(model: Model) -> None:
    one, two = (model.sample([prompt], guidance=1.0).images for prompt in ("seven", "three"))
    assert (one - two).abs().max() > 1e-3


def test_a_negative_prompt_takes_the_place_of_silence(model: Model) -> None:
    plain = model.sample(["seven"], guidance=3.0).images
    assert (model.sample(["seven"], guidance=3.0, negative=["three"]).images - plain).abs().max() > 1e-3
    assert torch.allclose(model.sample(["seven"], guidance=3.0, negative=[""]).images, plain, atol=1e-5)
    assert torch.equal(
        model.sample(["seven"], guidance=1.0, negative=["three"]).images, model.sample(["seven"], guidance=1.0).images
    )


def test_prompts_and_columns_are_one(model: Model) -> None:
    assert torch.equal(model.sample("seven").images, model.sample({"text": ["seven"]}).images)
    assert torch.equal(model.sample("seven").images, model.sample({"text": "seven"}).images)


def test_nothing_said_is_silence(model: Model) -> None:
    silent = model.sample(n=2)
    assert silent.captions == ("", "")
    assert torch.allclose(silent.images, model.sample(["", ""], guidance=1.0).images, atol=1e-5)


def test_drawing_leaves_training_mode_and_random_state_alone(model: Model) -> None:
    model.train()
    before = torch.get_rng_state()
    model.sample(["seven"])
    assert model.training
    assert torch.equal(torch.get_rng_state(), before)
    model.eval()


@pytest.mark.parametrize(
    ("values", "how", "message"),
    [
        ({"picture": ["x"]}, {}, r"reads no column 'picture'; it reads text"),
        (["a", "b"], {"seeds": [1]}, "1 seeds for 2 pictures"),
        (["a", "b", "c"], {"negative": ["x", "y"]}, r"2 negative values of 'text' for 3 pictures; give one, or one a picture"),
        ({"text": []}, {}, "nothing to draw"),
        ((), {"n": 0}, "nothing to draw"),
    ],
)
def test_what_cannot_be_drawn_is_said(model: Model, values: object, how: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        model.sample(values, **how)  # pyright: ignore[reportArgumentType]


def test_the_recipe_travels_in_the_picture(model: Model, tmp_path: Path) -> None:
    samples = model.sample(["seven", "三"], seed=3, guidance=2.0)
    with Image.open(samples.save(tmp_path / "grid.png")) as picture:
        recipe = json.loads(picture.text["cdkit"])  # pyright: ignore[reportAttributeAccessIssue]
    assert recipe["captions"] == ["seven", "三"]
    assert recipe["seeds"] == [3, 4]
    assert "scale=2.0" in recipe["guidance"]
    with Image.open(samples.save(tmp_path / "bare.png", metadata=False)) as picture:
        assert "cdkit" not in picture.info


def test_pictures_are_what_the_numbers_say(model: Model) -> None:
    samples = model.sample(["seven"])
    picture = samples.picture(0)
    assert picture.mode == "L"
    assert picture.size == (8, 8)
    expected = ((samples.images[0, 0, 2, 5] + 1) * 127.5).round().item()
    assert picture.getpixel((5, 2)) == expected
