"""mutant: a number -> a shipped spec, bent as its grammar bends: keys, values, brackets, indents, lines, and single bytes.

The same number always gives the same bytes, so a failure is named by its number alone.
"""
# ruff: noqa: E501  a table reads better whole

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from random import Random

SPECS = Path(__file__).parents[2] / "specs"
LONGEST = 1600  # bytes of a spec that is bent: small ones reach as far, and sooner
KEY = re.compile(r"(?<![\w.])([A-Za-z_][\w.]*):(?=[ \n])")
VALUE = re.compile(r"(?<=[:,\[] )[^\s{}\[\],#][^{}\[\],#\n]*|(?<=- )[^\s{}\[\],#][^{}\[\],#\n]*")
NASTY = (
    "", "~", "null", "true", "no", "0", "-1", "1e-4", "1e999", ".nan", "-.inf", "010", "0x1F", "1_000", "12:30:45", "2024-13-45",
    "9" * 30, "9" * 5000, "0x" + "f" * 300, "'", '"', "''", '"\\ud800"', '"\\0"', '"\\x1b[2J"', "[", "]", "{", "}", "[]", "{}",
    "[[[[]]]]", "{a: {b: {c: 1}}}", "{use: unet}", "{use: }", "use: unet", "&a 1", "*a", "<<", "!!int ''", "!!python/none", "!x",
    "| \n x", "> \n", "%x", "@x", "`x`", "? x", "- x", "---", "...", "# x", "${HOME}", "$(id)", "{{7*7}}", "../x", "/etc/passwd",
    "https://a.b/c", "C:\\x", "torch.nn:Linear", "__class__", "cdkit/unet", "a/b/c", "\u200b", "\u202e", "\ufeff", "猫", "🙂", "é" * 70,
    "a" * 300, "*", "down.*", "[down.*, ]", "[1, 2, 3, 4]", "[-1]", "[0.5, x]", "{text: 2}", "{1: 2}", "{? a : b}", "{a: 1, a: 2}",
)  # fmt: skip
LETTERS = "abcdefghijklmnopqrstuvwxyz_-.0123456789 \t\n:,[]{}#&*!|>'\"%@`?\\\0\x1b\x7f\x85\xa0\u2028\ufeff\ud800猫"


@cache
def shipped() -> tuple[str, ...]:
    """Every spec that ships, is small, and stands alone: a text has no folder in which another could lie."""
    texts = (path.read_text(encoding="utf-8") for path in sorted(SPECS.glob("*.yaml")))
    return tuple(text for text in texts if len(text) < LONGEST and "extends:" not in text)


@cache
def words() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Every key and every value that shipped specs hold: what is right elsewhere is the best of mistakes here."""
    keys, values = ({match.group() for text in shipped() for match in found.finditer(text)} for found in (KEY, VALUE))
    return tuple(sorted(keys)), tuple(sorted(values))


def mutant(number: int) -> bytes:
    """The spec of this number: one to five changes, nine of ten of them to its grammar."""
    draw = Random(number)
    text = draw.choice(shipped())
    for _ in range(draw.choice((1, 1, 1, 2, 2, 3, 5))):
        text = draw.choice(CHANGES)(text, draw)
    content = text.encode("utf-8", "surrogatepass")
    return spoiled(content, draw) if draw.random() < 0.1 else content


def another_value(text: str, draw: Random) -> str:
    return replaced(text, VALUE, draw, draw.choice(NASTY) if draw.random() < 0.6 else draw.choice(words()[1]))


def another_key(text: str, draw: Random) -> str:
    return replaced(text, KEY, draw, draw.choice(words()[0]) if draw.random() < 0.7 else f"{draw.choice(NASTY)}:")


def misspelt(text: str, draw: Random) -> str:
    """A letter of a key or a value lost, doubled, swapped or another."""
    found = list((KEY if draw.random() < 0.5 else VALUE).finditer(text))
    if not found:
        return text
    match = draw.choice(found)
    place = draw.randrange(match.start(), match.end())
    ways = ("", text[place] * 2, draw.choice(LETTERS), text[place + 1 : place + 2] + text[place])
    return text[:place] + draw.choice(ways) + text[place + 1 :]


def line_lost(text: str, draw: Random) -> str:
    lines = text.split("\n")
    del lines[draw.randrange(len(lines))]
    return "\n".join(lines)


def line_again(text: str, draw: Random) -> str:
    lines = text.split("\n")
    lines.insert(draw.randrange(len(lines) + 1), draw.choice(lines))
    return "\n".join(lines)


def line_of_another(text: str, draw: Random) -> str:
    lines = text.split("\n")
    lines.insert(draw.randrange(len(lines) + 1), draw.choice(draw.choice(shipped()).split("\n")))
    return "\n".join(lines)


def indented(text: str, draw: Random) -> str:
    lines = text.split("\n")
    place = draw.randrange(len(lines))
    lines[place] = draw.choice((" ", "  ", "\t", "- ", "")) + (lines[place].lstrip() if draw.random() < 0.5 else lines[place])
    return "\n".join(lines)


def bracket(text: str, draw: Random) -> str:
    found = list(re.finditer(r"[\[\]{},:\n-]", text))
    if not found:
        return text
    match = draw.choice(found)
    return text[: match.start()] + draw.choice(("", *"[]{},:", "[" * 40, "{a: " * 40)) + text[match.end() :]


def cut(text: str, draw: Random) -> str:
    first, last = sorted(draw.randrange(len(text) + 1) for _ in range(2))
    return text[:first] + text[last:] if draw.random() < 0.7 else text[:last]


def wrapped(text: str, draw: Random) -> str:
    """A value one floor deeper, or in quotes."""
    found = list(VALUE.finditer(text))
    if not found:
        return text
    match = draw.choice(found)
    left, right = draw.choice(
        (("[", "]"), ("{", "}"), ("{a: ", "}"), ("'", "'"), ('"', '"'), ("[" * 33, "]" * 33), ("&a ", ""), ("!t ", ""))
    )
    return f"{text[: match.start()]}{left}{match.group()}{right}{text[match.end() :]}"


def many(text: str, draw: Random) -> str:
    """More of one thing than anybody wants."""
    keys = "".join(f"k{i}: {i}\n" for i in range(draw.choice((40, 400))))
    longs = f"more: [{', '.join(['a'] * draw.choice((100, 1000)))}]\n"
    return text + draw.choice((keys, longs, f"long: {'x' * 20_000}\n", "\n" * 500, "# x\n" * 500))


def letter(text: str, draw: Random) -> str:
    place = draw.randrange(len(text) + 1)
    return text[:place] + draw.choice(LETTERS) + text[place + draw.randrange(2) :]


def replaced(text: str, what: re.Pattern[str], draw: Random, by: str) -> str:
    found = list(what.finditer(text))
    if not found:
        return text
    match = draw.choice(found)
    return text[: match.start()] + by + text[match.end() :]


def spoiled(content: bytes, draw: Random) -> bytes:
    """A byte lost, flipped or put in; or the text in another encoding."""
    place = draw.randrange(len(content) + 1)
    one = bytes([draw.randrange(256)])
    ways: Mapping[str, Callable[[], bytes]] = {
        "put": lambda: content[:place] + one + content[place:],
        "set": lambda: content[:place] + one + content[place + 1 :],
        "cut": lambda: content[:place],
        "wide": lambda: content.decode("utf-8", "replace").encode("utf-16"),
        "latin": lambda: content.decode("utf-8", "replace").encode("latin-1", "replace"),
        "marked": lambda: b"\xef\xbb\xbf" + content,
        "windows": lambda: content.replace(b"\n", b"\r\n"),
    }
    return ways[draw.choice(tuple(ways))]()


CHANGES: tuple[Callable[[str, Random], str], ...] = (
    another_value, another_value, another_value, another_key, another_key, misspelt, misspelt, line_lost, line_again, line_of_another,
    indented, bracket, bracket, cut, wrapped, many, letter,
)  # fmt: skip
