"""What is true of a picture of a known class, in English and Chinese."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

COLUMNS = ("text", "text.en", "text.zh", "label")


@dataclass(frozen=True, slots=True)
class Words:
    """Captions of one class by language; the first of each is the plainest and best for asking."""

    en: tuple[str, ...]
    zh: tuple[str, ...]

    def values(self, label: str) -> dict[str, tuple[Any, ...]]:
        """The columns of an example of this class; `text` holds every caption once."""
        return {"text": unique((*self.en, *self.zh)), "text.en": self.en, "text.zh": self.zh, "label": (label,)}


def unique(texts: Iterable[str]) -> tuple[str, ...]:
    """Each text once, in the order in which they first come."""
    return tuple(dict.fromkeys(texts))


def thing(noun: str, one: str, *, measure: str, zh: tuple[str, ...]) -> Words:
    """Captions of a thing: its noun, one of it with the article ("a cat"), and Chinese nouns with a measure word."""
    english = (one, noun, f"a picture of {one}", f"an image of {one}", f"this is {one}")
    chinese = (
        form
        for name in zh
        for form in (
            name,
            f"一{measure}{name}",
            f"一{measure}{name}的图片",
            f"一张{name}的图片",
            f"这是一{measure}{name}",
        )
    )
    return Words(en=english, zh=unique(chinese))


def by_language(words: Mapping[str, Words], language: str) -> dict[str, tuple[str, ...]]:
    """Captions by class in `en` or `zh`; nothing in a language that we have no words for."""
    if language == "en":
        return {name: said.en for name, said in words.items()}
    return {name: said.zh for name, said in words.items()} if language == "zh" else {}
