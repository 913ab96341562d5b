"""Prompts: what is refused, what is altered, and that it is said."""

import logging
import time

import pytest
from cdkit.errors import PromptError
from cdkit_encoders.prompts import Truncation, distinct, read, shown


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (["fine", "a\0b"], "prompt 1, 'a\\x00b': it holds a NUL character at position 1"),
        (["\ud800"], "prompt 0, '\\ud800': it holds half a surrogate pair, U+D800, at position 0, which is no text"),
        (["a" * 100_001], f"prompt 0, '{'a' * 40}'…: it has 100,001 characters; at most 100,000 are read"),
        ([b"cat"], "prompt 0: expected text, got bytes"),
        (["cat", None], "prompt 1: expected text, got NoneType"),
        (["a" + "\u0301" * 31], "more than 30 combining marks follow each other"),
    ],
)
def test_refused(raw: list[object], message: str) -> None:
    with pytest.raises(PromptError) as caught:
        read(raw)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "text",
    ["👩\u200d👩\u200d👧", "🇨🇭", "\u202ecat\u202c", "مرحبا", "<s>", "<|endoftext|>", "{0.__class__}", "%s", "../x", "\x1b[31m"],
)
def test_read_literally(text: str) -> None:
    assert read([text]) == [text]


def test_white_space_alone_is_empty() -> None:
    assert read(["", " ", "\t\n\u3000"]) == ["", "", ""]


def test_composed_and_decomposed_read_alike() -> None:
    assert read(["caf\u00e9"]) == read(["cafe\u0301"])


def test_as_long_as_may_be_is_quick() -> None:
    marks = ("a" + "\u0301\u0316" * 15) * 3200
    start = time.perf_counter()
    read([marks])
    assert time.perf_counter() - start < 1


def test_shown_is_inert() -> None:
    assert shown("\x1b[31m\u202ea") == "'\\x1b[31m\\u202ea'"


def test_a_cut_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    truncation = Truncation("tokens")
    with caplog.at_level(logging.WARNING, logger="cdkit"):
        truncation.say(5, 5, "short")
        truncation.say(77, 13412, "long")
        truncation.say(77, 99, "long again")
    assert [record.getMessage() for record in caplog.records] == ["prompt 'long' is too long: kept 77 of 13,412 tokens"]


def test_distinct_is_undone_by_its_index() -> None:
    prompts = ["b", "a", "b", "b"]
    once, index = distinct(prompts)
    assert once == ["b", "a"]
    assert [once[place] for place in index] == prompts
