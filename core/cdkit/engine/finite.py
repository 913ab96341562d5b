"""Finite: no update is made by a gradient that is no number. A GPU leaves it out by itself, and we hear of it a step later."""

from __future__ import annotations

import torch
from torch import Tensor

from cdkit.engine.optimizer import trained_by
from cdkit.engine.ranks import Ranks
from cdkit.engine.sharded import is_sharded
from cdkit.errors import NumericsError

HINT = "lower train.lr or train.clip, or train in fp32; the last checkpoint is intact"


class Finite:
    """Of one optimizer. Where its step is fused, it is told on the device whether to make it, and nothing waits to hear.

    That is as GradScaler tells it (`found_inf`). Averages and counts go on, so `settle` before any of them is kept.
    """

    def __init__(self, optimizer: torch.optim.AdamW, ranks: Ranks, where: str) -> None:
        self._optimizer, self._ranks, self._where = optimizer, ranks, where
        self._fused = bool(optimizer.defaults["fused"]) and not any(is_sharded(one) for one in trained_by(optimizer))
        self._asked: Asked | None = None

    def check(self, step: int, norm: Tensor, losses: list[Tensor]) -> None:
        """Before update number `step` by a gradient of this norm. NumericsError for it or, where it is fused, the one before."""
        if self._fused:
            self._optimizer.found_inf = (~norm.isfinite()).float()  # pyright: ignore[reportAttributeAccessIssue]
            self.settle()
        self._asked = Asked(step, norm, losses)
        if not self._fused:
            self.settle()

    def settle(self) -> None:
        """NumericsError if the last update was left out."""
        asked, self._asked = self._asked, None
        if asked is None or asked.is_finite():
            return
        loss = float(self._ranks.mean(torch.stack(asked.losses).mean()))
        what = f"step {asked.step}: the loss is {loss} and the gradient's norm {float(asked.norm)}; nothing was updated"
        raise self._ranks.voiced(NumericsError(f"{self._where}: {what}", hint=HINT))


class Asked:
    """The norm of one update's gradient, on its way to where we can see it."""

    def __init__(self, step: int, norm: Tensor, losses: list[Tensor]) -> None:
        self.step, self.norm, self.losses = step, norm, losses
        self._here = norm.to("cpu", non_blocking=True)
        self._come = torch.cuda.Event() if norm.is_cuda else None
        if self._come is not None:
            self._come.record()

    def is_finite(self) -> bool:
        if self._come is not None:
            self._come.synchronize()
        return bool(self._here.isfinite())
