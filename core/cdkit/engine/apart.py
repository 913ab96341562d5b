"""apart: pictures drawn by several processes, each a run of them, and put together in order. A picture depends on its own seed
alone, so who draws it makes no difference beyond rounding."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from cdkit.engine.ranks import Ranks
from cdkit.model import Samples


def rows_of(ranks: Ranks, count: int) -> range:
    """This process's rows: as many as the others', but for one at most."""
    bounds = [count * rank // ranks.world for rank in (ranks.rank, ranks.rank + 1)]
    return range(*bounds)


def of_rows(values: Mapping[str, Sequence[Any]], rows: range) -> dict[str, Sequence[Any]]:
    return {column: given[rows.start : rows.stop] for column, given in values.items()}


def tensor_together(ranks: Ranks, count: int, work: Callable[[range], Tensor]) -> Tensor:
    """`work` makes some of `count` rows of a tensor, at least one; every process calls this, and has all of them."""
    if ranks.world == 1:
        return work(range(count))
    rows = rows_of(ranks, count)
    made = ranks.each(lambda: work(rows) if len(rows) else None)
    return torch.cat([part for part in ranks.gathered(made) if part is not None])


def samples_together(ranks: Ranks, count: int, draw: Callable[[range], Samples]) -> Samples:
    """`draw` draws some of `count` pictures; every process calls this, and has all of them."""
    if ranks.world == 1:
        return draw(range(count))
    rows = rows_of(ranks, count)
    made = ranks.each(lambda: draw(rows) if len(rows) else None)
    parts = [part for part in ranks.gathered(made) if part is not None]
    images = torch.cat([part.images for part in parts])
    captions = tuple(caption for part in parts for caption in part.captions)
    negative = {
        column: [one for part in parts for one in part.recipe["negative"][column]] for column in parts[0].recipe["negative"]
    }
    recipe = {**parts[0].recipe, "negative": negative}
    return Samples(images, captions, tuple(seed for part in parts for seed in part.seeds), recipe)
