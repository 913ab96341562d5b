"""Examples that lie on a disk, each read when it is asked for."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import overload

from cdkit.parts import Example


class ReadAlone(Sequence[Example]):
    """Who has one says how many there are, and reads one at a time."""

    @abstractmethod
    def read(self, place: int) -> Example:
        """The example at 0 <= place < len. DataError where it cannot be read."""

    @overload
    def __getitem__(self, index: int) -> Example: ...
    @overload
    def __getitem__(self, index: slice) -> list[Example]: ...
    def __getitem__(self, index: int | slice) -> Example | list[Example]:
        places = range(len(self))[index]
        return self.read(places) if isinstance(places, int) else [self.read(place) for place in places]
