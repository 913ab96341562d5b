"""Drawings: pictures that a model drew already, for whoever asks for the same ones again while its weights stay as they are."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

from torch import Tensor

MOST = 2**28  # bytes; the oldest go


class Drawings:
    """Metrics that ask for the same words, noise and guidance share one drawing. What cannot be a key is drawn anew."""

    def __init__(self) -> None:
        self._kept: dict[Hashable, Tensor] = {}

    def once(self, values: Mapping[str, Sequence[Any]], how: Hashable, draw: Callable[[], Tensor]) -> Tensor:
        """Images (N, C, H, W) of these values, drawn as `how` says; nobody may write into them."""
        key = (tuple((column, tuple(given)) for column, given in values.items()), how)
        try:
            known = self._kept.get(key)
        except TypeError:  # a value such as a list
            return draw()
        if known is not None:
            return known
        images = draw()
        self._kept[key] = images
        while len(self._kept) > 1 and sum(image.nbytes for image in self._kept.values()) > MOST:
            del self._kept[next(iter(self._kept))]
        return images
