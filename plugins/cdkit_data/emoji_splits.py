"""Which emoji are held out: things unseen in every style, and pairs of a thing and an artwork of which both are seen."""

from __future__ import annotations

import hashlib
from typing import Literal, TypeAlias

Side: TypeAlias = Literal["seen", "pair", "thing"]
HeldOut: TypeAlias = Literal["both", "pairs", "things"]
HELD = 5  # of a hundred things; of a hundred pairs of the others; and of a hundred pairs of the rest, for validation


def side_of(thing: str, family: str) -> tuple[Side, bool]:
    """What is new about a picture ("seen": nothing), and whether it is for validation. The same on every machine.

    A whole family (the three Fluent styles are one artwork) shares a side. What validates is a pair that is not trained on,
    too: a pair has one picture.
    """
    pair = f"{thing}|{family}"
    if _place(thing) < HELD:
        return "thing", False
    if _place(pair) < HELD:
        return "pair", False
    validates = _place(f"validation|{pair}") < HELD
    return ("pair" if validates else "seen"), validates


def _place(key: str) -> int:
    return int(hashlib.sha256(f"emoji/{key}".encode()).hexdigest(), 16) % 100
