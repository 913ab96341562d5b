from __future__ import annotations

import pytest
import torch
from cdkit_data.digits import Digits
from cdkit_data.splits import SPLITS, content_id, split_of
from cdkit_data.table import Table

DIGITS = Digits()


def test_every_picture_is_in_one_split() -> None:
    ids = [id for name in SPLITS for id in DIGITS.split(name).ids]
    assert len(ids) == len(set(ids)) == 1797
    assert [len(DIGITS.split(name)) for name in SPLITS] == [1435, 181, 181]


def test_pictures_are_the_published_ones_in_minus_one_to_one() -> None:
    from sklearn.datasets import load_digits

    pictures, labels = load_digits(return_X_y=True)
    published = {tuple(row): int(label) for row, label in zip(pictures.astype(int).tolist(), labels, strict=True)}
    for example in DIGITS.split("test"):
        assert example.image.shape == (1, 8, 8)
        assert example.image.dtype == torch.float32
        levels = ((example.image + 1) * 8).flatten()
        assert torch.equal(levels, levels.round())
        value = published[tuple(int(level) for level in levels)]
        assert example.values["label"] == (DIGITS.classes[value],)
        assert str(value) in example.values["text.en"]


def test_captions_are_true_in_both_languages() -> None:
    three = next(example for example in DIGITS.split("train") if example.values["label"] == ("three",))
    assert {"three", "a three", "the digit three", "3"} <= set(three.values["text.en"])
    assert {"3", "三", "数字三"} <= set(three.values["text.zh"])
    assert set(three.values["text"]) == {*three.values["text.en"], *three.values["text.zh"]}
    assert len(set(three.values["text"])) == len(three.values["text"])
    assert "an eight" in DIGITS.prompts("en")["eight"]


def test_no_caption_belongs_to_two_classes() -> None:
    for language in ("en", "zh"):
        said = [caption for captions in DIGITS.prompts(language).values() for caption in captions]
        assert len(said) == len(set(said))
    assert DIGITS.prompts("fr") == {}


def test_size_changes_pixels_and_not_the_splits() -> None:
    wide = Digits(size=16)
    assert wide.shape == (1, 16, 16)
    assert wide.split("train").ids == DIGITS.split("train").ids
    small, large = DIGITS.split("test")[0].image, wide.split("test")[0].image
    assert torch.allclose(large.mean(), small.mean(), atol=0.02)
    assert wide.fingerprint() != DIGITS.fingerprint()
    with pytest.raises(ValueError, match="size is 9; digits come in 8, 16 and 32"):
        Digits(size=9)  # type: ignore[arg-type]  # wrong on purpose


def test_the_same_data_has_the_same_fingerprint() -> None:
    assert Digits().fingerprint() == DIGITS.fingerprint()


def test_a_hash_decides_the_split_evenly() -> None:
    ids = [content_id(str(number).encode()) for number in range(10_000)]
    counts = [sum(split_of(id) == name for id in ids) for name in SPLITS]
    assert [abs(count - share) < 150 for count, share in zip(counts, (8000, 1000, 1000), strict=True)] == [True] * 3
    assert content_id(b"ab", 1, 2) != content_id(b"ab", 2, 1)


def test_a_table_slices_and_scales() -> None:
    table = Table(torch.tensor([[[[0]]], [[[8]]], [[[16]]]], dtype=torch.uint8), ("a", "b", "c"), ({}, {}, {}), top=16)
    assert [example.image.item() for example in table] == [-1, 0, 1]
    assert [example.id for example in table[1:]] == ["b", "c"]
    assert table[-1].id == "c"
    assert [example.id for example in table.chosen([2, 0])] == ["c", "a"]
