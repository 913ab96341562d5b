"""Callbacks: those that a spec names hear how its training goes; one that fails is set aside, and the training goes on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from cdkit.build.assemble import blamed
from cdkit.parts import Callback
from cdkit.spec import PartSpec

Say = Callable[[str], None]


class Callbacks:
    """Everybody who listens, in the spec's order."""

    def __init__(self, parts: Sequence[PartSpec], say: Say) -> None:
        self._listening = [(part, made(part)) for part in parts]
        self._say = say

    def tell(self, event: str, *said: Any) -> None:
        """Call everybody's method of that name. What a callback raises is told once, and it is called no more."""
        for part, callback in tuple(self._listening):
            try:
                getattr(callback, event)(*said)
            except Exception as error:
                self._listening.remove((part, callback))
                what = f"{part.place}: callback {part.use} ({part.provider}) failed at `{event}`"
                self._say(f"{what}: {type(error).__name__}: {error}; set aside, the training goes on without it")


def made(part: PartSpec) -> Callback:
    with blamed(part.place, part.use):
        callback: Callback = part.factory()(**part.keywords)
    return callback
