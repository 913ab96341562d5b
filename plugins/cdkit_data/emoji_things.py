"""Which emoji show one thing, so that a thing that is held out is not seen under another name."""

from __future__ import annotations

from collections.abc import Sequence

DROPPED = {"200D", "2640", "2642", "27A1"}  # in a sequence: the joiner, of which sex, facing right
PERSON, ADULTS = "1F9D1", {"1F468", "1F469"}  # a person; a man, a woman


def thing_of(code: str) -> str:
    """What an emoji shows, whoever does it and whichever way they face: a man, a woman and a person running are one thing."""
    parts = [PERSON if part in ADULTS else part for part in code.split("-") if part not in DROPPED]
    return "-".join(parts or [code])  # the signs of the sexes and the arrow are emoji of their own, too


def things_of(alike: Sequence[Sequence[str]]) -> dict[str, str]:
    """Things by code. alike: groups of codes that look the same in some style; they are one thing (the flags of Norway and
    of its islands, say), and so is whatever they are one with."""
    parent: dict[str, str] = {}
    for codes in alike:
        roots = sorted({_root(parent, thing_of(code)) for code in codes})
        parent.update(dict.fromkeys(roots, roots[0]))
    return {code: _root(parent, thing_of(code)) for codes in alike for code in codes}


def _root(parent: dict[str, str], thing: str) -> str:
    while parent.setdefault(thing, thing) != thing:
        thing = parent[thing]
    return thing
