"""Pictures of one split, held as bytes and handed out as examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final, overload

import torch
from cdkit.parts import Example
from torch import Tensor


@final
@dataclass(frozen=True, eq=False)
class Table(Sequence[Example]):
    """N pictures (N, C, H, W) uint8 with values 0..top, and what is said of each; an example is made when asked for."""

    images: Tensor
    ids: tuple[str, ...]
    values: tuple[Mapping[str, tuple[Any, ...]], ...]  # one a picture; pictures of one class share it
    top: int = 255

    def __len__(self) -> int:
        return len(self.ids)

    @overload
    def __getitem__(self, index: int) -> Example: ...
    @overload
    def __getitem__(self, index: slice) -> Table: ...
    def __getitem__(self, index: int | slice) -> Example | Table:
        if isinstance(index, slice):
            return Table(self.images[index], self.ids[index], self.values[index], self.top)
        image = self.images[index].to(torch.float32).mul_(2 / self.top).sub_(1)
        return Example(id=self.ids[index], image=image, values=self.values[index])

    def chosen(self, rows: Sequence[int]) -> Table:
        """These rows, as a table of their own."""
        picked = torch.as_tensor(rows, dtype=torch.long)
        return Table(self.images[picked], tuple(self.ids[row] for row in rows), tuple(self.values[row] for row in rows), self.top)
