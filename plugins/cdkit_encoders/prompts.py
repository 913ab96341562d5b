"""Prompts as people type them: checked before any tokenizer sees them, in a form that does not depend on the keyboard."""

from __future__ import annotations

import logging
import unicodedata
from collections.abc import Sequence
from itertools import groupby
from typing import Any

from cdkit.parts import PromptError

LONGEST = 100_000  # characters
MOST_MARKS = 30  # combining marks in a row, Unicode's stream-safe limit (UAX 15); normalising longer runs takes quadratic time
SHOWN = 40  # characters of a prompt in a message

log = logging.getLogger("cdkit")


def read(raw: Sequence[Any]) -> list[str]:
    """B raw values -> B prompts in Unicode's form C, white space alone made empty.

    PromptError, with the index and the place, for what is no text, holds NUL or half a surrogate pair, or is too long.
    """
    return [_prompt(value, index) for index, value in enumerate(raw)]


def shown(text: str) -> str:
    """A prompt for a message: quoted, control characters escaped, cut."""
    return ascii(text[:SHOWN]) + ("…" if len(text) > SHOWN else "")


def _prompt(value: Any, index: int) -> str:
    if not isinstance(value, str):
        raise PromptError(f"prompt {index}: expected text, got {type(value).__name__}")
    problem = _problem(value)
    if problem:
        raise PromptError(f"prompt {index}, {shown(value)}: {problem}")
    text = unicodedata.normalize("NFC", value)
    return "" if text.isspace() else text


def _problem(text: str) -> str:
    """What is wrong with a prompt; empty if nothing is."""
    if len(text) > LONGEST:
        return f"it has {len(text):,} characters; at most {LONGEST:,} are read"
    if "\0" in text:
        return f"it holds a NUL character at position {text.index(chr(0))}"
    if text.isascii():
        return ""
    for position, character in enumerate(text):
        if "\ud800" <= character <= "\udfff":
            return f"it holds half a surrogate pair, U+{ord(character):04X}, at position {position}, which is no text"
    marks = (len(list(run)) for combining, run in groupby(text, lambda c: unicodedata.combining(c) > 0) if combining)
    return "" if max(marks, default=0) <= MOST_MARKS else f"more than {MOST_MARKS} combining marks follow each other"


class Truncation:
    """Says once that a prompt was cut, and where."""

    def __init__(self, unit: str) -> None:
        self.unit = unit
        self._said = False

    def say(self, kept: int, total: int, text: str) -> None:
        """Log a warning if total is more than what was kept; later calls are silent."""
        if total > kept and not self._said:
            self._said = True
            log.warning("prompt %s is too long: kept %s of %s %s", shown(text), f"{kept:,}", f"{total:,}", self.unit)


class Unknown:
    """Says once that a tokenizer knows less than half of a prompt: another language, or a script that it never saw."""

    def __init__(self) -> None:
        self._said = False

    def say(self, unknown: int, total: int, text: str) -> None:
        """Log a warning if half of the tokens or more are the one for what is unknown; later calls are silent."""
        if unknown and 2 * unknown >= total and not self._said:
            self._said = True
            log.warning(
                "prompt %s: %s of %s tokens are unknown to this encoder, which cannot tell them apart",
                shown(text),
                unknown,
                total,
            )


def distinct(prompts: Sequence[str]) -> tuple[list[str], list[int]]:
    """Each prompt once, and for every prompt its index there: captions repeat, and one encoding serves them all."""
    order = {prompt: index for index, prompt in enumerate(dict.fromkeys(prompts))}
    return list(order), [order[prompt] for prompt in prompts]
