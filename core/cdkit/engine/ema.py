"""The exponential moving average of weights, in float32 whatever the weights are in: a bfloat16 average never moves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from cdkit.engine.sharded import divided, part_of, rows_for


class Ema:
    """e <- d e + (1 - d) p after every update, with d = min(decay, (1 + n) / (10 + n)) at update n.

    So that the start is forgotten quickly. Only parameters that are trained are averaged; of those that are divided among
    processes, each averages its own part.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self.names = [name for name, parameter in module.named_parameters() if parameter.requires_grad]
        self._own = [parameter for parameter in module.parameters() if parameter.requires_grad]
        self.values = [part_of(parameter.detach()).float().clone() for parameter in self._own]

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights as they are now."""
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        get_ema_multi_avg_fn(decay)(self.values, [part_of(parameter).float() for parameter in self._own], None)
        self.updates += 1

    def tensors(self) -> dict[str, Tensor]:
        """By the names of the weights, and divided as they are."""
        return {name: divided(value, own.detach()) for name, value, own in zip(self.names, self.values, self._own, strict=True)}

    def load(self, tensors: Mapping[str, Tensor], updates: int) -> None:
        self.updates = updates
        for name, value, own in zip(self.names, self.values, self._own, strict=True):
            value.copy_(rows_for(tensors[name], own))

    def swap(self) -> None:
        """Exchange the weights and their average; twice is nothing."""
        with torch.no_grad():
            for parameter, value in zip(self._own, self.values, strict=True):
                own = part_of(parameter)
                held = own.clone()
                own.copy_(value)
                value.copy_(held)

    def __enter__(self) -> Ema:
        self.swap()
        return self

    def __exit__(self, *exception: Any) -> None:
        self.swap()
