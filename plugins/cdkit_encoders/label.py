"""label: one of several classes, by name or by index, as a learned vector."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from operator import index
from typing import Any

import torch
from cdkit.hooks import Trial, hookimpl
from cdkit.parts import Encoder, Positive, PromptError, Stream, Widths
from torch import Tensor, nn


class Label(Encoder):
    """A class name (str) or index (int) -> tokens (B, 1, dim) and pooled (B, dim), the same learned vector.

    names: of the classes, which fix the indices. classes: their number; one of the two. dim: of the vector. Null: a learned
    vector of its own, as DiT has it (Peebles and Xie 2023). A name that is not there is a PromptError with the nearest one.
    """

    def __init__(self, *, names: tuple[str, ...] = (), classes: Positive | None = None, dim: Positive = 128) -> None:
        super().__init__()
        self.names = tuple(names)
        self.classes = _count(self.names, classes)
        self.widths = Widths(tokens=dim, pooled=dim)
        self.embedding = nn.Embedding(self.classes + 1, dim)
        self._index = {name: place for place, name in enumerate(self.names)}

    def forward(self, raw: Sequence[Any]) -> Stream:
        """B names or indices -> a stream."""
        return self._stream(torch.tensor([self._read(value, row) for row, value in enumerate(raw)], dtype=torch.long))

    def null(self, n: int) -> Stream:
        """The extra class, n times."""
        return self._stream(torch.full((n,), self.classes))

    def examples(self) -> tuple[Any, Any]:
        """The first two classes."""
        return (self.names[0], self.names[1]) if self.names else (0, 1)

    def _stream(self, rows: Tensor) -> Stream:
        vectors: Tensor = self.embedding(rows.to(self.embedding.weight.device, non_blocking=True))
        return Stream(tokens=vectors.unsqueeze(1), pooled=vectors)

    def _read(self, value: Any, row: int) -> int:
        if isinstance(value, str):
            return self._by_name(value, row)
        try:
            place = -1 if isinstance(value, bool) else index(value)
        except TypeError:
            raise PromptError(f"label {row}: expected a class name or an index, got {type(value).__name__}") from None
        if not 0 <= place < self.classes:
            raise PromptError(f"label {row}: {value!r} is no class; the indices are 0 to {self.classes - 1}")
        return place

    def _by_name(self, name: str, row: int) -> int:
        """The index of a name. Without names, digits are an index: a command line has nothing but text."""
        if name in self._index:
            return self._index[name]
        if not self.names and name.isdecimal():
            return self._read(int(name[:10]), row)
        if not self.names:
            raise PromptError(f"label {row}: {name!r} is no index; the classes have no names, only 0 to {self.classes - 1}")
        near = get_close_matches(name, self.names, n=1, cutoff=0.0)
        raise PromptError(
            f"label {row}: there is no class {name!r}; the nearest is {near[0]!r}", hint=f"classes: {', '.join(self.names)}"
        )


def _count(names: tuple[str, ...], classes: int | None) -> int:
    """The number of classes, at least two; ValueError where names and classes do not say one thing."""
    if not names and classes is None:
        raise ValueError("a label needs `names`, a list, or `classes`, a number")
    if len(set(names)) != len(names):
        raise ValueError(f"names: {next(name for name in names if names.count(name) > 1)!r} is there twice")
    if names and classes not in (None, len(names)):
        raise ValueError(f"classes is {classes}, but there are {len(names)} names; leave one of them out")
    count = len(names) or int(classes or 0)
    if count < 2:
        raise ValueError(f"a label says nothing with {count} class; expected at least 2")
    return count


@hookimpl
def cdkit_encoder() -> type[Label]:
    return Label


@hookimpl
def cdkit_trial() -> Trial:
    return Trial({"names": ("cat", "dog", "cow")})
