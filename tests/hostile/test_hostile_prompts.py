"""Bad inputs 37 to 52: prompts, said to the model that ships. None makes it stumble; what is altered is told."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

Ask = Callable[..., Any]
SAMPLE = ("sample", "animals", "--steps", "1", "--device", "cpu")
BIDI = "\u202ecat\u202c \u05d7\u05ea\u05d5\u05dc \u0645\u0631\u062d\u0628\u0627"

REFUSED: dict[str, tuple[str, str]] = {
    "40 a megabyte": ("a" * 1_000_000, rf"prompt 0, '{'a' * 40}'…: it has 1,000,000 characters; at most 100,000 are read$"),
    "41 NUL": ("a cat\0", r"prompt 0, 'a cat\\x00': it holds a NUL character at position 5$"),
    "42 half a pair": ("a \ud83d cat", r"prompt 0, 'a \\ud83d cat': it holds half a surrogate pair, U\+D83D, at position 2"),
    "44 marks without end": ("a" + "\u0301" * 5000, r"prompt 0, .*: more than 30 combining marks follow each other$"),
}  # fmt: skip


@pytest.fixture
def drawn(ask: Ask, tmp_path: Path) -> Callable[..., list[Path]]:
    """drawn(*prompts): one picture each, all from the same noise, in a folder of their own."""

    def draw(*prompts: str, folder: str = "out") -> list[Path]:
        found: list[Path] = []
        for prompt in prompts:
            answer = ask(*SAMPLE, "-p", prompt, "--out", folder, "--json")
            assert answer.code == 0, answer.err
            assert "\x1b" not in answer.out + answer.err
            assert answer.seconds < 5
            found += map(Path, json.loads(answer.out)["pictures"])
        inside = (tmp_path / folder).resolve()
        assert all(path.resolve().parent == inside for path in found)
        return found

    return draw


def pixels(path: Path) -> np.ndarray[Any, Any]:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def recipe(path: Path) -> dict[str, Any]:
    with Image.open(path) as picture:
        return json.loads(picture.info["cdkit"])


@pytest.mark.parametrize("case", REFUSED)
def test_a_prompt_that_is_no_text(case: str, refused: Ask) -> None:
    prompt, says = REFUSED[case]
    refused(*SAMPLE, "-p", prompt, code=5, says=says)


def test_white_space_says_nothing_and_draws_what_silence_draws(drawn: Callable[..., list[Path]]) -> None:
    """37, 38."""
    empty, blank, wide, cat = drawn("", "   ", "\t\n\u3000", "a cat")
    assert np.array_equal(pixels(empty), pixels(blank))
    assert np.array_equal(pixels(empty), pixels(wide))
    assert not np.array_equal(pixels(empty), pixels(cat)), "else a model that hears nothing would pass"
    assert [path.name for path in (empty, blank, wide)] == ["0000-picture.png", "0001-picture.png", "0002-picture.png"]


def test_ten_thousand_words_are_cut_and_it_is_told(ask: Ask, caplog: pytest.LogCaptureFixture) -> None:
    """39."""
    answer = ask(*SAMPLE, "-p", "word " * 10_000, "--json")
    assert answer.code == 0
    assert len([line for line in caplog.messages if re.fullmatch("prompt .* is too long: kept 126 of 50,000 bytes", line)]) == 1


def test_emoji_and_both_normal_forms(drawn: Callable[..., list[Path]]) -> None:
    """43."""
    composed, decomposed, family, flag = drawn("caf\u00e9", "cafe\u0301", "👩\u200d👩\u200d👧", "🇨🇭")
    assert np.array_equal(pixels(composed), pixels(decomposed))
    assert not np.array_equal(pixels(family), pixels(flag))
    assert composed.name == "0000-café.png"
    assert unicodedata.is_normalized("NFC", decomposed.name)


def test_what_turns_text_around_stays_inert(ask: Ask, tmp_path: Path) -> None:
    """44, 48: nothing that a terminal obeys is printed, nothing of it is in a file's name."""
    answer = ask(*SAMPLE, "-p", BIDI, "-p", "\x1b[2J\x1b]0;title\x07 a cat\x9b31m")
    assert answer.code == 0
    assert not [letter for letter in answer.out + answer.err if unicodedata.category(letter) in ("Cc", "Cf") and letter != "\n"]
    assert "\\x1b[2J" in answer.out
    assert "\\u202e" in answer.out
    for path in (tmp_path / "samples").iterdir():
        assert not [letter for letter in path.name if unicodedata.category(letter)[0] == "C"]


def test_marks_of_tokenizers_and_templates_are_text(drawn: Callable[..., list[Path]]) -> None:
    """46, 50: each is another prompt than the empty one, none is expanded, in picture, name or recipe."""
    said = ["<s>", "<pad>", "<|endoftext|>", "{0.__class__}", "%s", "{{7*7}}", "${HOME}"]
    empty, *marks = drawn("", *said)
    assert not any(np.array_equal(pixels(empty), pixels(mark)) for mark in marks)
    assert [recipe(path)["captions"] for path in marks] == [[prompt] for prompt in said]
    stems = [path.stem.partition("-")[2] for path in marks]
    assert stems == ["s", "pad", "endoftext", "0-__class", "s", "7-7", "home"]


def test_file_names_are_safe_and_nothing_is_overwritten(ask: Ask, tmp_path: Path) -> None:
    """47."""
    said = ["../../x", "/etc/passwd", "CON", "x" * 300, "é" * 300, "..", "a\nb", "C:\\x", "-rf", ".hidden"]
    told = [word for prompt in said for word in ("-p", prompt)]
    first, again = (
        [Path(path) for path in json.loads(ask(*SAMPLE, *told, "--out", "out", "--json").out)["pictures"]] for _ in range(2)
    )
    assert not set(first) & set(again)
    assert all(path.parent == Path("out") for path in [*first, *again])
    assert [path.name for path in first[:3]] == ["0000-x.png", "0001-etc-passwd.png", "0002-con.png"]
    assert all(re.match(r"\d{4}-", path.name) and len(path.name.encode()) <= 80 for path in first)
    assert {path.name for path in tmp_path.iterdir()} == {"out"}


@pytest.mark.parametrize(
    "content",
    [b"a cat\na dog\n", b"a cat\r\na dog\r\n", b"\n\na cat\n\r\n  \na dog", b"\xef\xbb\xbfa cat\na dog"],
    ids=["plain", "51 CRLF", "51 blank lines and no end", "51 a byte order mark"],
)
def test_a_file_of_prompts_is_the_same_prompts(content: bytes, ask: Ask, tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_bytes(content)
    answer = ask(*SAMPLE, "--prompts-file", "prompts.txt", "--json")
    assert json.loads(answer.out)["captions"] == ["a cat", "a dog"]


FILES: dict[str, tuple[bytes, str]] = {
    "52 Latin-1": (b"a cat\ncaf\xe9\n", r"prompts\.txt:2:4: not UTF-8; expected text$"),
    "52 UTF-16": ("a cat\n".encode("utf-16"), r"prompts\.txt:1:1: not UTF-8; expected text$"),
    "41 NUL in a file": (b"a cat\n\nca\0t\n", r"prompts\.txt:3:3: a NUL character; expected text$"),
    "40 seventeen megabytes": (b"a" * (17 << 20), r"prompts\.txt: larger than 16 MiB; expected one prompt a line$"),
}


@pytest.mark.parametrize("case", FILES)
def test_a_file_that_holds_no_prompts(case: str, refused: Ask, tmp_path: Path) -> None:
    content, says = FILES[case]
    (tmp_path / "prompts.txt").write_bytes(content)
    refused(*SAMPLE, "--prompts-file", "prompts.txt", code=5, says=says)


@pytest.mark.parametrize("kind", ["missing", "folder", "pipe"])
def test_what_is_no_file_of_prompts(kind: str, refused: Ask, tmp_path: Path) -> None:
    import os

    {"missing": lambda: None, "folder": (tmp_path / "p.txt").mkdir, "pipe": lambda: os.mkfifo(tmp_path / "p.txt")}[kind]()
    refused(*SAMPLE, "--prompts-file", "p.txt", code=2, says=r"p\.txt: no such file of prompts$")
