"""Names: what a component may be called, what a strange one is made of, and which known one it was meant to be."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable
from difflib import SequenceMatcher, get_close_matches

NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
RULE = "expected lower-case letters, digits, `_`, `.` and `-`, at most 64 of them"
NO_IMPORTS = "components are names, not imports"
SLIPS = 2  # of the pen, that do not hide which name was meant


def is_name(text: str) -> bool:
    """Is this a component's name, bare or `dist/name`?"""
    dist, slash, name = text.rpartition("/")
    return bool(NAME.fullmatch(name)) and (not slash or bool(NAME.fullmatch(dist)))


def normal(dist: str) -> str:
    """A distribution's name as package indexes compare it."""
    return re.sub(r"[-_.]+", "-", dist.strip()).lower()


def nearest(name: str, known: Iterable[str]) -> str:
    """The known name that this one was probably meant to be: the one that the fewest slips lead to, else the most alike; "" where
    none is near.
    """
    short = name[:64].lower()
    names = list(known)
    slipped = {other: slips(short, other.lower()) for other in names if abs(len(other) - len(short)) <= SLIPS}
    close = [other for other, count in slipped.items() if count <= SLIPS and count < max(len(short), len(other))]
    if close:
        return min(close, key=lambda other: (slipped[other], -SequenceMatcher(None, short, other.lower()).ratio()))
    return next(iter(get_close_matches(short, names, n=1, cutoff=0.6)), "")


def slips(written: str, meant: str) -> int:
    """Letters left out, put in, exchanged or swapped with the next one, at the fewest (Damerau 1964)."""
    before, row = [], list(range(len(meant) + 1))
    for i, letter in enumerate(written):
        above, before, row = before, row, [i + 1]
        for j, other in enumerate(meant):
            least = min(before[j] + (letter != other), before[j + 1] + 1, row[j] + 1)
            swapped = i > 0 and j > 0 and letter == meant[j - 1] and written[i - 1] == other
            row.append(min(least, above[j - 1] + 1) if swapped else least)
    return row[-1]


def did_you_mean(name: str, known: Iterable[str], provider: Callable[[str], str] | None = None) -> str:
    """`; did you mean 'x'?`, or "" where nothing is near. provider: says who gives a name: `; did you mean 'x' (dist==1.0)?`."""
    close = nearest(name, known)
    of = f" ({provider(close)})" if close and provider else ""
    return f"; did you mean {close!r}{of}?" if close else ""


def quoted(text: str, most: int = 60) -> str:
    """The text between quotes, cut where it is long, and with every invisible or misleading character as its escape."""
    cut = text if len(text) <= most else text[: most - 1] + "…"
    return f"'{visible(cut)}'"


def brief(text: str, most: int) -> str:
    """The text in one line that no terminal acts on, cut where it is longer than `most` characters."""
    line = " ".join(text[: 4 * most].split())
    return visible(line if len(line) <= most else line[: most - 1] + "…")


def visible(text: str) -> str:
    """The text with its invisible and misleading characters as escapes."""
    return text if text.isascii() and text.isprintable() else "".join(char if _plain(char) else _escape(char) for char in text)


def letters(text: str) -> str:
    """Letters beyond ASCII, by code point, for names whose look-alikes deceive; "" if none."""
    found = dict.fromkeys(char for char in text[:200] if ord(char) > 126)
    return ", ".join(f"U+{ord(char):04X} {unicodedata.name(char, 'a control character')}" for char in list(found)[:4])


def _plain(char: str) -> bool:
    return char == " " or unicodedata.category(char)[0] not in "CZ"


def _escape(char: str) -> str:
    return f"\\x{ord(char):02x}" if ord(char) < 256 else f"\\u{ord(char):04x}" if ord(char) < 65536 else f"\\U{ord(char):08x}"


def a(noun: str) -> str:
    """The noun with its article."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"
