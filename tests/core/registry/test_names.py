"""Names: which known one a slip of the pen meant, and how a strange one is shown."""
# ruff: noqa: E501  a table reads better whole

from __future__ import annotations

from functools import cache
from itertools import product

import pytest
from cdkit.registry.names import brief, did_you_mean, letters, nearest, quoted, slips, visible


@cache
def fewest(written: str, meant: str) -> int:
    """The same count by trying everything from the end: leave out, put in, exchange, swap two neighbours."""
    if not written or not meant:
        return len(written) + len(meant)
    ways = [
        fewest(written[:-1], meant) + 1,
        fewest(written, meant[:-1]) + 1,
        fewest(written[:-1], meant[:-1]) + (written[-1] != meant[-1]),
    ]
    if len(written) > 1 and written[-2:] == meant[-2:][::-1]:
        ways.append(fewest(written[:-2], meant[:-2]) + 1)
    return min(ways)


def test_slips_are_the_fewest() -> None:
    words = ["".join(letters) for length in range(5) for letters in product("abc", repeat=length)]
    for written, meant in product(words, words):
        assert slips(written, meant) == fewest(written, meant), (written, meant)


@pytest.mark.parametrize(
    ("written", "known", "meant"),
    [
        ("unte", ["unet", "dit"], "unet"),
        ("UNET", ["dit", "unet"], "unet"),
        ("fiml", ["fimlab", "film"], "film"),  # one slip goes before two, though more of its letters stand in another place
        ("dim", ["dix", "dimx"], "dimx"),  # of as many slips, what is more alike
        ("a", ["abc"], "abc"),
        ("abcdef", ["abcxyz"], ""),  # three slips
        ("xy", ["ab"], ""),  # as many slips as letters: nothing of it is left
        ("cross_attn", ["film", "cross_attention"], "cross_attention"),  # many slips, and still alike
        ("zzzzzz", ["unet", "dit"], ""),
        ("unet", [], ""),
        ("", ["unet"], ""),
    ],
)
def test_the_nearest_name(written: str, known: list[str], meant: str) -> None:
    assert nearest(written, known) == meant
    assert did_you_mean(written, known) == (f"; did you mean '{meant}'?" if meant else "")


@pytest.mark.parametrize("most", [2, 10, 60])
def test_a_long_text_is_cut_and_a_short_one_is_not(most: int) -> None:
    for length in (0, 1, most - 1, most):
        assert brief("x" * length, most) == "x" * length
        assert quoted("x" * length, most) == f"'{'x' * length}'"
    for length in (most + 1, most + 2, 10 * most):
        assert brief("x" * length, most) == "x" * (most - 1) + "…"
        assert quoted("x" * length, most) == f"'{'x' * (most - 1)}…'"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text~", "plain text~"),
        ("Übung 七", "Übung 七"),
        ("a\tb\x00\x1b[2J", r"a\x09b\x00\x1b[2J"),
        ("a\x7f\x85\xadb", r"a\x7f\x85\xadb"),
        ("a\u200b\u202e\uffff", r"a\u200b\u202e\uffff"),
        ("a\U000e0041", r"a\U000e0041"),
        ("a\u3000b", r"a\u3000b"),
    ],
)
def test_what_cannot_be_seen_is_shown_as_its_escape(text: str, shown: str) -> None:
    assert visible(text) == shown


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("unet~", ""),
        ("un\u0435t", "U+0435 CYRILLIC SMALL LETTER IE"),
        ("\u0435\u0435\x7f", "U+0435 CYRILLIC SMALL LETTER IE, U+007F a control character"),
        ("абвгд", "U+0430 CYRILLIC SMALL LETTER A, U+0431 CYRILLIC SMALL LETTER BE, U+0432 CYRILLIC SMALL LETTER VE, U+0433 CYRILLIC SMALL LETTER GHE"),
    ],
)  # fmt: skip
def test_letters_that_deceive_are_told_by_code_point(name: str, told: str) -> None:
    """Each once, and four of them at most."""
    assert letters(name) == told
