"""Pictures by the thousand, with a line of progress now and then."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from cdkit.parts import Examinee
from torch import Tensor


def drawn(examinee: Examinee, values: Mapping[str, Sequence[Any]], seeds: Sequence[int], *, batch: int, what: str) -> Tensor:
    """One picture a seed, told the values in its place -> (N, C, H, W) in [-1, 1] on the CPU."""
    parts: list[Tensor] = []
    for start in range(0, len(seeds), batch):
        at = slice(start, start + batch)
        parts.append(examinee.draw({name: given[at] for name, given in values.items()}, seeds[at]).cpu())
        examinee.say(f"{what}: {min(start + batch, len(seeds))} of {len(seeds)} pictures drawn")
    return torch.cat(parts)
