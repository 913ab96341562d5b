"""The atlas: attention that is asked for is that of the network's own pass, word by word, place by place."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from cdkit.build import assemble
from cdkit.conditions import Count
from cdkit.engine.atlas_files import numbers, save
from cdkit.model import Model
from cdkit.model.atlas import explain, tidy
from cdkit.model.attention import by_word, laid_out, tokens_of
from cdkit.model.influence import influence
from cdkit.parts import Site, TextEncoder
from cdkit.spec import read_spec
from PIL import Image

DIGITS = Path(__file__).parents[3] / "specs" / "digits.yaml"


def made(*overrides: str) -> Model:
    """Random weights, whose gates are open."""
    small = ("backbone.width=16", "conditions.text.dim=16", "sampler.steps=2")
    model = assemble(read_spec(DIGITS, overrides=(*small, *overrides))).eval()
    draws = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if not parameter.any():
                parameter.normal_(std=0.1, generator=draws)
    model.ledger.counts["text"] = Count(told=9, silent=1)
    return model


@pytest.fixture(scope="module")
def model() -> Model:
    return made()


def test_both_ways_are_asked(model: Model) -> None:
    atlas = explain(model, "the digit  seven", seed=3)
    assert atlas.words == ("the", "digit", "seven")
    assert torch.equal(atlas.influence.maps, influence(model, "the digit seven", seed=3).maps)
    assert set(atlas.attention) == {site.name for site in model.sites if site.kind == "attend"}
    assert {maps.shape for maps in atlas.attention.values()} == {(3, 4, 4, 4)}
    assert atlas.attended is not None
    assert atlas.attended.shape == atlas.influence.maps.shape


def test_shares_of_attention_are_shares(model: Model) -> None:
    """What is no word's is that of the beginning, the end and the blanks."""
    for maps in explain(model, "the digit seven").attention.values():
        assert bool((maps > 0).all())
        assert bool((maps.sum(dim=0) < 1).all())


def test_attention_goes_where_keys_are_alike() -> None:
    """A word whose keys every query shuns is attended to nowhere; one that they all seek has everything."""
    weights = torch.zeros(2, 5, 4)
    weights[..., 2] = 1
    assert by_word(weights, [[0, 1], [2], [3]]).tolist() == [[[0.0] * 5] * 2, [[1.0] * 5] * 2, [[0.0] * 5] * 2]


def test_places_of_a_padded_picture_are_its_own() -> None:
    """12 pixels stand in the middle of 16, which 4 x 4 places see: the second place begins at the picture's third pixel."""
    model = made("sample.height=12", "sample.width=12")
    site = Site("deep", "attend", "tokens", 8, 4, 8, padded=16)
    rows = torch.eye(16).reshape(16, 1, 16)  # a map that is 1 at one place, for each of them
    maps = laid_out(model, site, rows)
    assert maps.shape == (16, 1, 12, 12)
    for place, heat in enumerate(maps[:, 0]):
        middle = torch.tensor([4 * side + 1.5 - 2 for side in divmod(place, 4)]).clamp(0, 11)
        top = (heat >= heat.max() - 1e-6).nonzero().float().mean(dim=0)
        assert torch.allclose(top, middle, atol=0.5)


def test_places_are_told_apart_where_asked(model: Model) -> None:
    apart = explain(model, "a seven", seed=3).influence
    together = explain(model, "a seven", seed=3, places={}).influence
    assert torch.equal(apart.maps, together.maps)
    assert not together.by_place
    assert set(apart.by_place) == {site.name for site in model.sites}
    assert {maps.shape for maps in apart.by_place.values()} == {apart.maps.shape}
    assert all(
        torch.equal(found, maps.mean(dim=(2, 3)))
        for found, maps in zip(apart.places.values(), apart.by_place.values(), strict=True)
    )


def test_to_look_changes_nothing(model: Model) -> None:
    before = model.sample("seven", seed=1).images
    explain(model, "a seven", seed=1)
    assert torch.equal(model.sample("seven", seed=1).images, before)
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_a_method_without_attention_is_asked_the_other_way() -> None:
    atlas = explain(made("injectors=[{use: film, streams: [text]}]"), "a seven")
    assert atlas.attention == {}
    assert atlas.attended is None
    assert bool((atlas.influence.whole > 0).all())


def test_a_given_picture_is_asked_about(model: Model) -> None:
    picture = torch.zeros(1, 8, 8)
    atlas = explain(model, "a seven", picture=picture)
    assert torch.equal(atlas.influence.picture, picture)


def test_tokens_of_words(model: Model) -> None:
    encoder = model.readers["text"].encoder
    assert isinstance(encoder, TextEncoder)
    assert tokens_of(encoder, "a red") == [[1], [3, 4, 5]]  # after the beginning; the blank is nobody's
    assert tokens_of(encoder, "猫 a") == [[1, 2, 3], [5]]  # three bytes
    assert tidy(" a  red\tcat ") == "a red cat"
    assert tidy("e\u0301") == "\u00e9"


def test_files(model: Model, tmp_path: Path) -> None:
    atlas = explain(model, "<b> & seven", seed=3)
    paths = save(atlas, tmp_path / "atlas", "a test")
    assert [path.name for path in paths] == ["atlas.png", "atlas.html", "atlas.json", "sites.png"]
    sites = len(atlas.influence.by_place) + len(atlas.attention)
    for path, columns, rows in ((paths[0], 4, 2 * 3), (paths[3], 3, sites)):
        with Image.open(path) as grid:
            assert grid.width > columns * 100
            assert grid.height > rows * 100
    page = paths[1].read_text(encoding="utf-8")
    assert "<b>" not in page
    assert "&lt;b&gt;, left out" in page
    assert "default-src 'none'" in page
    assert page.count("<img") == 1 + 2 * 3 * 4 + 3 * sites
    assert page.count("<div>σ") == 3 * 4 * sites  # words, levels: by site and by noise
    assert page.count("<img") == page.count('<img class="map" alt=') + 1
    assert set(numbers(atlas)["influence"]["sites"]) == {site.name for site in model.sites}
