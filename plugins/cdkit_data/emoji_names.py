"""What every emoji is called, in English and Chinese: Unicode's names and keywords, as emojibase has them."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cdkit_data.npm import members

LANGUAGES, WORDS = ("en", "zh"), ("label", "keywords")
FILES = {language: f"{language}/data.json" for language in LANGUAGES}


@dataclass(frozen=True, slots=True)
class Name:
    """One emoji: its code points in hex, the characters, and its words by kind and language, a label being one word."""

    code: str
    emoji: str
    words: Mapping[tuple[str, str], tuple[str, ...]]  # of ("label", "en") and its like


def read_names(path: Path) -> dict[str, Name]:
    """Every emoji by its code, without skin tones and parts of flags, in Unicode's order."""
    files = members(path, lambda name: name in FILES.values())
    tables = {language: _table(json.loads(files[file])) for language, file in FILES.items()}
    return {code: Name(code, entry["emoji"], _words(code, tables)) for code, entry in tables["en"].items()}


def _words(code: str, tables: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> dict[tuple[str, str], tuple[str, ...]]:
    label = {("label", language): (table[code]["label"],) for language, table in tables.items()}
    return {**label, **{("keywords", language): tuple(table[code].get("tags", ())) for language, table in tables.items()}}


def _table(entries: Iterable[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    return {plain(entry["hexcode"]): entry for entry in entries if "group" in entry}


def plain(code: str) -> str:
    """A code as we write it: upper case, joined by `-`, without the selector that only asks for colour."""
    return "-".join(part for part in code.upper().replace("_", "-").split("-") if part != "FE0F")


def slug(text: str) -> str:
    """Letters and digits of a name, in lower case, without accents: as sets of icons write it, more or less."""
    return re.sub(r"[^a-z0-9]+", "", unicodedata.normalize("NFKD", text).lower())


def codes_by_slug(names: Mapping[str, Name], known: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Codes by slug: of emojibase's names, of Unicode's old ones, and of the icons of sets that tell their codes (`known`)."""
    found: dict[str, str] = {}
    for code, name in names.items():
        found.setdefault(slug(name.words["label", "en"][0]), code)
        old = unicodedata.name(chr(int(code, 16)), "") if "-" not in code else ""
        if old:
            found.setdefault(slug(old), code)
    for icons in known:
        for code, icon in icons.items():
            found.setdefault(slug(icon), code)
    return found
