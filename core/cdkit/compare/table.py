"""table: rows of text as a table in HTML."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape


def rows(head: Sequence[str], body: Iterable[Sequence[str]], kind: str = "numbers") -> str:
    """A table. kind: of `numbers`, or what is `told` in words. The lines of a cell after its first are small."""
    top = "".join(f"<th scope='col'>{escape(cell)}</th>" for cell in head)
    lines = ("".join(map(entry, row)) for row in body)
    made = "".join(f"<tr>{line}</tr>" for line in lines)
    return f"<table class='{kind}'><thead><tr>{top}</tr></thead><tbody>{made}</tbody></table>"


def entry(text: str) -> str:
    first, _, rest = text.partition("\n")
    return f"<td>{escape(first)}{f'<small>{escape(rest)}</small>' if rest else ''}</td>"
