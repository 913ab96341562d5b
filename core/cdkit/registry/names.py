"""Names: what a component may be called, what a strange one is made of, and which known one it was meant to be."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from difflib import get_close_matches

NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
RULE = "expected lower-case letters, digits, `_`, `.` and `-`, at most 64 of them"
NO_IMPORTS = "components are names, not imports"


def is_name(text: str) -> bool:
    """Is this a component's name, bare or `dist/name`?"""
    dist, slash, name = text.rpartition("/")
    return bool(NAME.fullmatch(name)) and (not slash or bool(NAME.fullmatch(dist)))


def normal(dist: str) -> str:
    """A distribution's name as package indexes compare it."""
    return re.sub(r"[-_.]+", "-", dist.strip()).lower()


def nearest(name: str, known: Iterable[str]) -> str:
    """The known name that this one was probably meant to be; "" where none is near."""
    names = list(known)
    close = get_close_matches(name[:64].lower(), names, n=1, cutoff=0.6)
    return close[0] if close else ""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?`, or "" where nothing is near."""
    close = nearest(name, known)
    return f"; did you mean {close!r}?" if close else ""


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
