"""What to tell a model about a picture, in one language: raw values by column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cdkit.parts import DataError, Dataset, Example

TEXT = "text"


def class_prompts(dataset: Dataset, language: str) -> dict[str, tuple[str, ...]]:
    """The prompts of every class in a language. DataError where the set has no classes, or no words for one of them."""
    if not dataset.classes:
        raise DataError(
            f"{type(dataset).__name__} has no classes, so nothing can say what a picture shows",
            hint="score it by `identification`, which compares captions and needs no classes",
        )
    prompts = dataset.prompts(language)
    wordless = [name for name in dataset.classes if not prompts.get(name)]
    if wordless:
        raise DataError(f"{type(dataset).__name__} has no prompts in language {language!r} for {', '.join(wordless)}")
    return {name: tuple(prompts[name]) for name in dataset.classes}


def balanced(prompts: Mapping[str, Sequence[str]], language: str, n: int) -> tuple[dict[str, list[Any]], list[int]]:
    """n raw values by column, the classes in turn and each class's prompts in turn, and the n classes' places."""
    names = list(prompts)
    places = [index % len(names) for index in range(n)]
    words = [prompts[names[place]][index // len(names) % len(prompts[names[place]])] for index, place in enumerate(places)]
    return columns(words, [names[place] for place in places], language), places


def columns(words: Sequence[str], labels: Sequence[str], language: str) -> dict[str, list[Any]]:
    """The same captions for whoever reads text of any or of this language, the same classes for whoever reads labels."""
    return {TEXT: list(words), f"{TEXT}.{language}": list(words), "label": list(labels)}


def told(examples: Sequence[Example], language: str) -> dict[str, list[Any]]:
    """What is true of each example, by column; text in one language, an example's captions taken in turn."""
    spoken = f"{TEXT}.{language}"
    rows = [_row(example, spoken, turn) for turn, example in enumerate(examples)]
    shared = [column for column in rows[0] if all(column in row for row in rows)] if rows else []
    return {column: [row[column] for row in rows] for column in shared}


def told_first(examples: Sequence[Example], language: str) -> dict[str, list[Any]]:
    """What is true of each example: its first caption, whatever its turn, so that all are worded alike and as fully."""
    rows = [told([example], language) for example in examples]
    return {column: [row[column][0] for row in rows] for column in rows[0]}


def _row(example: Example, spoken: str, turn: int) -> dict[str, Any]:
    """One value a column. Text of other languages is left out; `text` says what `text.<language>` says."""
    row = {
        column: given[turn % len(given)]
        for column, given in example.values.items()
        if given and (column == spoken or not column.startswith(f"{TEXT}."))
    }
    if example.values.get(spoken):
        row[TEXT] = row[spoken]
    elif any(column.startswith(f"{TEXT}.") for column in example.values):
        raise DataError(f"example {example.id} has no caption in column {spoken!r}; it has {', '.join(example.values)}")
    return row


def label_of(example: Example, dataset: Dataset) -> int:
    """The place of an example's class among the set's classes."""
    given = example.values.get("label", ())
    if not given or given[0] not in dataset.classes:
        raise DataError(f"example {example.id} has label {given!r}; expected one of {', '.join(dataset.classes)}")
    return dataset.classes.index(given[0])
