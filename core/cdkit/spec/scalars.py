"""YAML 1.2 core scalars: `1e-4` is a number; `no`, `on`, `12:30`, `010` and `2024-13-45` are text."""

from __future__ import annotations

import re

NULLS = frozenset({"", "~", "null", "Null", "NULL"})
TRUTHS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)|0o[0-7]+|0x[0-9a-fA-F]+")
FLOAT = re.compile(r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
SPECIAL = {".nan": "nan", ".inf": "inf", "+.inf": "inf", "-.inf": "-inf"}
DIGITS = 24  # of the longest literal that can be a 64-bit integer, octal with its sign


def resolve(text: str) -> bool | int | float | str | None:
    """What a plain scalar says. OverflowError for an integer beyond 64 bits and a number beyond double precision."""
    if text in NULLS:
        return None
    if text in TRUTHS:
        return TRUTHS[text]
    if INTEGER.fullmatch(text):
        return _integer(text)
    if FLOAT.fullmatch(text):
        return _number(text)
    return float(SPECIAL[text.lower()]) if text.lower() in SPECIAL else text


def _integer(text: str) -> int:
    if len(text) > DIGITS:
        raise OverflowError("integer out of 64-bit range")
    value = int(text, 0)
    if not -(2**63) <= value < 2**63:
        raise OverflowError("integer out of 64-bit range")
    return value


def _number(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise OverflowError("number out of the range of double precision")
    return value
