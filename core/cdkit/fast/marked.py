"""Marked: gradients that a recorded way back has made before its end, in groups, each with an event that says it is there."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import takewhile
from typing import Protocol

import torch
from torch import Tensor, nn

from cdkit.fast.strides import joined_rows, rows_in

Group = Sequence[nn.Parameter]
BETWEEN = 256  # MiB of gradients to an event: the GPU pauses at each


class Sender(Protocol):
    """Who wants gradients as soon as they are made."""

    def groups(self) -> Sequence[Group] | None:
        """In which it takes them, one after another; None while that is not known yet."""
        ...

    def send(self, row: Tensor, ready: torch.cuda.Event) -> None:
        """The next group's gradients, in a row, which hold once `ready` has come to pass. What is put in their place counts."""
        ...


class Marked:
    """Of one recording. What it holds lies where each replay writes it anew."""

    def __init__(self, groups: Sequence[Group]) -> None:
        self._groups = groups
        self._made: list[dict[int, Tensor]] = [{} for _ in groups]
        self._rows: dict[int, Tensor] = {}  # since the last event
        self._there: dict[int, tuple[Tensor, torch.cuda.Event]] = {}

    @contextmanager
    def watched(self) -> Generator[None]:
        """While it lasts, a way back is recorded; what a group needs to be whole is recorded with it."""
        with ExitStack() as hooks:
            for place, group in enumerate(self._groups):
                for index, weight in enumerate(group):
                    hooks.callback(weight.register_hook(partial(self._take, place, index)).remove)
            yield

    def _take(self, place: int, index: int, gradient: Tensor) -> None:
        made, group = self._made[place], self._groups[place]
        made[index] = gradient
        if len(made) == len(group):
            self._rows[place] = joined_rows([made[index] for index in range(len(group))], group)
            made.clear()
            if sum(row.nbytes for row in self._rows.values()) >= BETWEEN * 2**20:
                self._mark()

    def _mark(self) -> None:
        ready = torch.cuda.Event(external=True)
        ready.record()
        self._there |= {place: (row, ready) for place, row in self._rows.items()}
        self._rows = {}

    @property
    def whole(self) -> list[tuple[Tensor, torch.cuda.Event]]:
        """The groups that are made in full, up to the first that is not: they are taken in order."""
        return list(takewhile(bool, (self._there.get(place, ()) for place in range(len(self._groups)))))  # pyright: ignore[reportReturnType]

    def gradients(self) -> dict[nn.Parameter, Tensor]:
        """Of the weights in those groups."""
        found: dict[nn.Parameter, Tensor] = {}
        for group, (row, _) in zip(self._groups, self.whole, strict=False):
            found |= zip(group, rows_in(row, group), strict=True)
        return found
