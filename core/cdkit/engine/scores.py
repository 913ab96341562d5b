"""Reports as lines that a person reads: every share with its interval, every table with its columns in line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any


def lines(report: Mapping[str, Any]) -> list[str]:
    """One report -> lines: one score in full, several (a guidance sweep) as a table of their figures."""
    scores: Sequence[Mapping[str, Any]] = report["scores"]
    head = f"{report['metric']} of {report['model']}"
    if len(scores) > 1:
        return [head, *_indented(_sweep(scores))]
    recipe = scores[0]["recipe"]
    told = f" by {recipe['sampler']}, {recipe['steps']} steps, guidance {recipe['guidance']}" if recipe else ""
    return [f"{head}{told}", *_indented(_fields(scores[0]["result"]))]


def words(value: Any) -> str:
    """A share as "99.10 % [98.59, 99.43] of 2000", a number with four digits, a list with commas."""
    if _is_share(value):
        low, high = value["interval"]
        return f"{value['share']:.2%} [{low:.2%}, {high:.2%}] of {value['n']}".replace("%", " %")
    if isinstance(value, bool) or not isinstance(value, float):
        return ", ".join(words(item) for item in value) if isinstance(value, list) else _plain(value)
    return f"{value:.4g}"


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return " ".join(f"{key} {words(item)}" for key, item in value.items())
    return str(value)


def _fields(result: Mapping[str, Any]) -> Iterator[str]:
    """A line a figure; a mapping of figures and a list of mappings get a line each, indented."""
    width = max((len(key) for key in result), default=0)
    for key, value in result.items():
        if isinstance(value, Mapping) and not _is_share(value):
            yield key
            inner = max((len(name) for name in value), default=0)
            yield from (f"  {name:<{inner}}  {words(item)}" for name, item in value.items())
        elif isinstance(value, list) and value and isinstance(value[0], Mapping):
            yield key
            yield from (f"  {words(item)}" for item in value)
        else:
            yield f"{key:<{width}}  {words(value)}"


def _sweep(scores: Sequence[Mapping[str, Any]]) -> list[str]:
    """A row a guidance scale, a column for each share and each number with a fraction."""
    first = scores[0]["result"]
    names = [key for key, value in first.items() if _is_share(value) or isinstance(value, float)]
    rows = [["guidance", *names]]
    for score in scores:
        scale = "spec's" if score["guidance"] is None else f"{score['guidance']:g}"
        rows.append([scale, *(words(score["result"][name]) for name in names)])
    return table(rows)


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of cells -> lines with the columns in line."""
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _is_share(value: Any) -> bool:
    return isinstance(value, Mapping) and {"share", "interval", "n"} <= set(value)


def _indented(given: Sequence[str] | Iterator[str]) -> list[str]:
    return [f"  {line}" for line in given]
