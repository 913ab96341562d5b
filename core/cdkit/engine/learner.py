"""Learner: a model and what is lowered of it, as one module. One call is one loss, so who wraps it sees all that is used."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from cdkit.engine.batches import Batch
from cdkit.model import Model


class Learner(nn.Module):
    """Batch -> the task's loss, a scalar, by the model as it is now."""

    def __init__(self, model: Model, loss: Callable[..., Tensor], *, seed: int, device: torch.device, accelerator: Any) -> None:
        super().__init__()
        self.model = model
        self.loss = loss
        self.seed, self.device, self.accelerator = seed, device, accelerator

    def forward(self, batch: Batch) -> Tensor:
        return self.loss(self.model, batch, self.seed, self.device, self.accelerator)
