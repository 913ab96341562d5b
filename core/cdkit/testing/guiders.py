"""check_guider: what a guider asks for it combines, sample by sample, and agreement it leaves as it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from cdkit.parts import Grid, Guider
from cdkit.testing.elsewhere import require_copies
from cdkit.testing.samplers import grids
from cdkit.testing.verdict import require, require_close, require_equal, run

CONDITIONS = ("text", "label")


@dataclass(frozen=True, slots=True)
class GuiderCase:
    """A guider's factory, its options bound, and the conditions it is asked about."""

    factory: Callable[[], Guider]
    conditions: tuple[str, ...] = CONDITIONS

    def steps(self) -> list[tuple[Guider, Grid, int, int]]:
        """Every step of every kind of grid, with the number of branches that it asks for."""
        return [
            (guider, grid, i, len(guider.branches(self.conditions, grid, i)))
            for guider in [self.factory()]
            for grid in grids().values()
            for i in range(len(grid))
        ]


def clean(seed: int) -> Tensor:
    return torch.randn((3, 2, 4, 4), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def check_branches(case: GuiderCase) -> None:
    """Every step asks for at least one branch, each once, silencing only conditions that exist."""
    guider = case.factory()
    for grid in grids().values():
        for i in range(len(grid)):
            asked = list(guider.branches(case.conditions, grid, i))
            known = all(branch <= set(case.conditions) for branch in asked)
            fits = bool(asked) and len(set(asked)) == len(asked) and known
            require("branches", fits, f"branches of step {i}", measured=asked, allowed=f"distinct sets of {case.conditions}")


def check_agreement(case: GuiderCase) -> None:
    """Where every branch draws the same clean picture, so does the guided one."""
    for guider, grid, i, n in case.steps():
        require_close("agreement", guider.combine([clean(0)] * n, grid, i), clean(0), 1e-12, f"{n} equal branches at step {i}")


def check_batch(case: GuiderCase) -> None:
    """Each sample is guided by its own branches alone, and the same way twice."""
    order = torch.tensor([1, 0, 2])
    for guider, grid, i, n in case.steps():
        branches = [clean(seed) for seed in range(n)]
        whole = guider.combine(branches, grid, i)
        require_equal("batch", guider.combine(branches, grid, i), whole, f"guided again at step {i}")
        found = guider.combine([branch[order] for branch in branches], grid, i)
        require_close("batch", found, whole[order], 1e-12, f"samples in another order at step {i}")


def check_copies(case: GuiderCase) -> None:
    """A deep copy and a pickled copy (another process) guide the same, bit for bit."""
    grid = grids()["flow"]

    def guided(guider: Guider) -> list[torch.Tensor]:
        asked = [len(guider.branches(case.conditions, grid, i)) for i in range(len(grid))]
        return [guider.combine([clean(seed) for seed in range(n)], grid, i) for i, n in enumerate(asked)]

    require_copies(case.factory(), guided)


GUIDER_CHECKS: Mapping[str, Callable[[GuiderCase], None]] = {
    "branches": check_branches,
    "agreement": check_agreement,
    "batch": check_batch,
    "copies": check_copies,
}


def check_guider(
    factory: Callable[[], Guider], *, conditions: tuple[str, ...] = CONDITIONS, exceptions: Mapping[str, str] | None = None
) -> None:
    """Run every check on a guider: `factory()`, its options bound with functools.partial."""
    run(GUIDER_CHECKS, GuiderCase(factory, conditions), exceptions or {})
