"""Is the condition ever told? A spec can silence its own condition, by a dropout of one or by its guidance."""

from __future__ import annotations

import torch

from cdkit.build.liveness.severed import Untold
from cdkit.build.recipe import make_guider
from cdkit.model import Model
from cdkit.parts import Grid, Guider
from cdkit.spec import Spec

STEPS = 10  # enough to find any interval of guidance that is wider than a tenth of the schedule


def check_told(spec: Spec, model: Model) -> None:
    """Raises Untold if training always drops a condition, or no step of a sampling lets it count."""
    for name, condition in spec.conditions.items():
        if condition.dropout >= 1 and not condition.of:
            raise Untold(spec, name, "its dropout is 1, so training never tells it", "take a dropout such as 0.1")
    guider = make_guider(spec)
    if guider is None:
        return
    grid = model.diffusion.grid(STEPS, "trailing")
    for name in model.told:
        if not any(_counts(guider, model.told, name, grid, index) for index in range(STEPS)):
            why = f"guidance {spec.guidance.use if spec.guidance else ''} ({guider!r}) never lets it count"
            raise Untold(spec, name, why, "take a guidance scale above 0")


def _counts(guider: Guider, names: tuple[str, ...], name: str, grid: Grid, index: int) -> bool:
    """Does the guided picture move when only the branches that tell this condition move?"""
    branches = guider.branches(names, grid, index)
    draws = torch.Generator().manual_seed(0)
    clean, change = (torch.randn((len(branches), 1, 1, 4, 4), generator=draws, dtype=torch.float64) for _ in range(2))
    tells = torch.tensor([name not in branch for branch in branches]).view(-1, 1, 1, 1, 1)
    moved = clean + tells * change
    return not torch.allclose(guider.combine(list(clean), grid, index), guider.combine(list(moved), grid, index), atol=1e-12)
