"""label: names and indices, its own null, and what is refused."""

import numpy as np
import pytest
import torch
from cdkit.errors import PromptError
from cdkit.parts import Widths
from cdkit_encoders.label import Label


def test_names_and_indices_are_one_thing() -> None:
    encoder = Label(names=("bear", "bird", "cat"), dim=8)
    stream = encoder(["cat", 2, np.int64(2), torch.tensor(2)])
    assert encoder.widths == Widths(tokens=8, pooled=8)
    assert stream.pooled is not None
    assert stream.tokens is not None
    assert stream.tokens.shape == (4, 1, 8)
    assert torch.equal(stream.tokens[:, 0], stream.pooled)
    assert torch.equal(stream.pooled, encoder.embedding.weight[2].expand(4, 8))


def test_null_is_a_vector_of_its_own() -> None:
    encoder = Label(classes=3, dim=8)
    null = encoder.null(2).pooled
    said = encoder([0, 1, 2]).pooled
    assert null is not None
    assert said is not None
    assert torch.equal(null[0], null[1])
    assert torch.cdist(null, said).min() > 0.1


def test_digits_of_a_command_line() -> None:
    encoder = Label(classes=12, dim=4)
    assert torch.equal(encoder(["11"]).pooled, encoder([11]).pooled)  # pyright: ignore[reportArgumentType]


def test_a_digit_that_is_a_name_is_that_name() -> None:
    encoder = Label(names=("7", "3"), dim=4)
    assert torch.equal(encoder(["3"]).pooled, encoder([1]).pooled)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("girafe", "label 0: there is no class 'girafe'; the nearest is 'giraffe'"),
        ("", "label 0: there is no class ''; the nearest is"),
        (2, "label 0: 2 is no class; the indices are 0 to 1"),
        (-1, "label 0: -1 is no class; the indices are 0 to 1"),
        (True, "label 0: True is no class"),
        (1.0, "label 0: expected a class name or an index, got float"),
        (None, "label 0: expected a class name or an index, got NoneType"),
    ],
)
def test_refused(value: object, message: str) -> None:
    with pytest.raises(PromptError) as caught:
        Label(names=("giraffe", "zebra"))([value])
    assert str(caught.value).startswith(message)


def test_an_unknown_name_lists_the_classes() -> None:
    with pytest.raises(PromptError) as caught:
        Label(names=("giraffe", "zebra"))(["girafe"])
    assert caught.value.hint == "classes: giraffe, zebra"


def test_a_name_where_there_are_only_indices() -> None:
    with pytest.raises(PromptError, match="'cat' is no index; the classes have no names, only 0 to 4"):
        Label(classes=5)(["cat"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "a label needs `names`, a list, or `classes`, a number"),
        ({"names": ("a", "b", "a")}, "names: 'a' is there twice"),
        ({"names": ("a", "b"), "classes": 3}, "classes is 3, but there are 2 names"),
        ({"classes": 1}, "a label says nothing with 1 class; expected at least 2"),
    ],
)
def test_impossible_options(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Label(**options)  # pyright: ignore[reportArgumentType]
