"""Weights in a prompt, as people write them: "(red:1.3) cat", "((red))", "[red]".

The notation, the factor of 1.1 a bracket and the mean that is restored are AUTOMATIC1111's; what is written wrongly is text here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import NamedTuple, TypeAlias

import torch
from cdkit.parts import PromptError
from torch import Tensor

BRACKET = 1.1  # what a pair of round brackets multiplies by, and a pair of square ones divides by
LARGEST = 1000.0
FAINT = 0.01  # a mean below this share of the mean magnitude is what rounding left of nothing
# Every quantifier is possessive: a hostile prompt is read in linear time.
LEXEME = re.compile(r"\\[()\[\]\\]|[()\[\]]|:\s*+([+-]?+(?:\d++(?:\.\d*+)?+|\.\d++))\s*+\)|[^\\()\[\]:]++|.", re.DOTALL)

Lexemes: TypeAlias = Sequence[tuple[str, str | None]]  # what stands there, and the number of one like ":1.3)"


class Fragment(NamedTuple):
    """Some of a prompt, its brackets gone, and how much it weighs."""

    text: str
    weight: float


def fragments(prompt: str) -> list[Fragment]:
    """A prompt -> its text in order, no two neighbours of one weight; one empty fragment if there is no text.

    Round brackets multiply by 1.1, or by the number in "(…:1.3)"; square ones divide by 1.1; nested ones do both. A backslash
    before a bracket or a backslash makes it text, as is a bracket without its partner. PromptError for a weight beyond 1000.
    """
    runs = groupby(_weighed([(found.group(), found.group(1)) for found in LEXEME.finditer(prompt)]), lambda part: part.weight)
    found = [Fragment("".join(part.text for part in run), weight) for weight, run in runs]
    for part in found:
        if abs(part.weight) > LARGEST:
            raise PromptError(
                f"prompt: {part.text[:40]!r} weighs {part.weight:.4g}; a weight goes to {LARGEST:g} at most",
                hint="take a smaller number, or fewer brackets; `\\(` is a bracket as text",
            )
    return found or [Fragment("", 1.0)]


def _weighed(lexemes: Lexemes) -> Iterator[Fragment]:
    opened, closed = _pairs(lexemes)
    weights = [1.0]
    for place, (text, _) in enumerate(lexemes):
        if place in opened:
            weights.append(weights[-1] * opened[place])
        elif place in closed:
            weights.pop()
        else:
            yield Fragment(text[1:] if len(text) == 2 and text[0] == "\\" else text, weights[-1])


def _pairs(lexemes: Lexemes) -> tuple[dict[int, float], set[int]]:
    """Brackets that have a partner: where they open, with what they multiply by, and where they close."""
    opened: dict[int, float] = {}
    closed: set[int] = set()
    waiting: list[int] = []
    count = {"(": 0, "[": 0}
    for place, (text, number) in enumerate(lexemes):
        if text in count:
            waiting.append(place)
            count[text] += 1
        elif text in (")", "]") or number is not None:
            opener = "[" if text == "]" else "("
            while count[opener]:  # what was opened in between and is still waiting has no partner
                start = waiting.pop()
                kind = lexemes[start][0]
                count[kind] -= 1
                if kind == opener:
                    opened[start] = float(number) if number is not None else BRACKET if opener == "(" else 1 / BRACKET
                    closed.add(place)
                    break
    return opened, closed


def emphasised(tokens: Tensor, weights: Tensor) -> Tensor:
    """tokens (B, L, D), each times its weight (B, L), then all of a row times one number that restores the row's mean.

    As AUTOMATIC1111 does it, but row by row, so that no prompt hears its neighbours. A mean that is nothing but rounding
    cannot be restored: such rows stay as they are weighed. A row whose weights are all 1 stays as it is, bit for bit.
    """
    weighed = tokens * weights.unsqueeze(-1).to(tokens.dtype)
    before, after = (_mean(values) for values in (tokens, weighed))
    sound = (before.abs() > FAINT * _mean(tokens.abs())) & (after.abs() > FAINT * _mean(weighed.abs()))
    factor = torch.where(sound, before / torch.where(sound, after, 1), 1)
    return weighed * factor.to(tokens.dtype)


def _mean(values: Tensor) -> Tensor:
    """(B, L, D) -> (B, 1, 1), in float32 at least."""
    return values.to(torch.promote_types(values.dtype, torch.float32)).mean(dim=(1, 2), keepdim=True)
