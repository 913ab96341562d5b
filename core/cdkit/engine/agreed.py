"""agreed: what processes that train together read, as long as every one of them can."""

from __future__ import annotations

from collections.abc import Iterator

from cdkit.engine.batches import Batch
from cdkit.engine.ranks import Elsewhere, Ranks
from cdkit.engine.unreadable import Unreadable
from cdkit.errors import DataError


class Unread(Elsewhere):
    """Another process could not read its part of a batch."""


def agreed(groups: Iterator[list[Batch]], unreadable: Unreadable, ranks: Ranks) -> Iterator[list[Batch]]:
    """The groups of batches, as long as every process has its own: what one of them cannot read, none goes on without."""
    while True:
        group: list[Batch] | None = None
        failure: DataError | None = None
        try:
            group = next(groups, None)
            unreadable.note(group or ())
        except DataError as error:
            failure = error
        code = int(ranks.greatest(failure.exit_code if failure else 0)[0])
        if failure or code:
            raise failure or Unread(code)
        if group is None:
            return
        yield group
