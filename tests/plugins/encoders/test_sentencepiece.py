"""sentencepiece: what it learns, that it travels with the weights, and what it does before and without."""

import copy
from pathlib import Path

import pytest
import torch
from cdkit.errors import CdkitError, DataError
from cdkit.parts import Stream
from cdkit_encoders.sentencepiece import SentencePiece
from safetensors.torch import load_file, save_file
from torch.testing import assert_close

SIZES, COLOURS, SHAPES = ("small", "large"), ("red", "green", "blue"), ("circle", "square", "triangle")
CAPTIONS = [f"a {size} {colour} {shape}" for size in SIZES for colour in COLOURS for shape in SHAPES] * 3 + ["一只猫", "一只狗"]


def small(**options: int) -> SentencePiece:
    torch.manual_seed(0)
    return SentencePiece(**{"vocab": 80, "dim": 16, "depth": 1, "heads": 2, **options})


def fitted(**options: int) -> SentencePiece:
    encoder = small(**options)
    encoder.fit(CAPTIONS)
    return encoder


def count(stream: Stream) -> list[int]:
    assert stream.mask is not None
    return stream.mask.sum(dim=1).tolist()


def test_words_that_recur_become_pieces() -> None:
    words, strange, empty = count(fitted()(["a small red circle", "qwzx", ""]))
    assert words <= 2 + 8  # 18 characters and blanks
    assert strange == 2 + 5  # the blank before, and a byte each
    assert empty == 2


@pytest.mark.parametrize("text", ["猫", "鼠", "A SMALL", "<s>", "<unk>", "<0x41>", "🙂"])
def test_nothing_reads_as_something_else(text: str) -> None:
    encoder = fitted()
    pooled = encoder([text, "a small red circle", "", "A", "s"]).pooled
    assert pooled is not None
    assert (pooled[1:] - pooled[0]).norm(dim=-1).min() > 1e-3


def test_case_matters() -> None:
    pooled = fitted()(["Red", "red"]).pooled
    assert pooled is not None
    assert not torch.allclose(pooled[0], pooled[1])


def test_the_order_of_captions_does_not_matter() -> None:
    one, other = small(), small()
    one.fit(CAPTIONS)
    other.fit(reversed(CAPTIONS))
    assert torch.equal(one.vocabulary, other.vocabulary)


def test_the_vocabulary_travels_with_the_weights(tmp_path: Path) -> None:
    encoder, fresh = fitted(), small()
    save_file(encoder.state_dict(), tmp_path / "model.safetensors")
    fresh.load_state_dict(load_file(tmp_path / "model.safetensors"))
    for twin in (fresh, copy.deepcopy(encoder)):
        assert_close(twin(["a small cat 猫"]).tokens, encoder(["a small cat 猫"]).tokens, atol=0, rtol=0)


def test_another_vocabulary_loaded_is_the_one_that_reads() -> None:
    encoder, other = fitted(), small()
    other.fit(["xylophone", "zither"] * 20)
    before = count(encoder(["xylophone"]))
    encoder.load_state_dict(other.state_dict())
    assert count(encoder(["xylophone"])) == count(other(["xylophone"])) < before


def test_padding_is_harmless() -> None:
    encoder = fitted().double()
    together, alone = encoder(["red", "a large green triangle 猫猫猫"]), encoder(["red"])
    assert together.tokens is not None
    assert alone.tokens is not None
    n = count(alone)[0]
    assert_close(together.tokens[0, :n], alone.tokens[0, :n], atol=1e-12, rtol=0)
    assert_close(together.pooled[0], alone.pooled[0], atol=1e-12, rtol=0)  # pyright: ignore[reportOptionalSubscript]


def test_null_is_the_empty_prompt() -> None:
    encoder = fitted()
    null = encoder.null(2)
    assert torch.equal(null.pooled, encoder(["", " "]).pooled)  # pyright: ignore[reportArgumentType]


def test_long_prompts_are_cut(caplog: pytest.LogCaptureFixture) -> None:
    assert count(fitted(length=10)(["circle " * 5000])) == [10]
    assert caplog.messages[0].startswith("prompt 'circle circle circle circle circle circl'… is too long: kept 8 of ")


def test_used_before_it_learned() -> None:
    with pytest.raises(CdkitError, match="sentencepiece has no vocabulary yet") as caught:
        small()(["a cat"])
    assert caught.value.hint == "training learns it from the captions; or call fit(captions)"


def test_nothing_to_learn_from() -> None:
    with pytest.raises(DataError, match="nothing to learn from: every caption is empty"):
        small().fit(["", "  "])


def test_more_characters_than_vocabulary() -> None:
    letters = [chr(0x4E00 + place) for place in range(100)]
    with pytest.raises(DataError, match="vocab is 80, but the captions hold 101 different characters; take at least 101"):
        small().fit(letters)
    small(vocab=101).fit(letters)


def test_a_damaged_vocabulary() -> None:
    encoder = fitted()
    encoder.vocabulary[8:200] = 255
    with pytest.raises(DataError, match="vocabulary in this state is damaged"):
        encoder(["a"])


def test_the_twin_learns_from_its_examples() -> None:
    encoder = SentencePiece(**SentencePiece.narrow({"dim": 16, "depth": 4, "vocab": 40}))
    encoder.fit(list(encoder.examples()) * 8)
    pooled = encoder(list(encoder.examples())).pooled
    assert pooled is not None
    assert not torch.allclose(pooled[0], pooled[1])
