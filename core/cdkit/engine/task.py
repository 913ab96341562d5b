"""Task: what a training lowers, and what it draws on the way. `task:` of a spec says which."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from cdkit.engine import autoencoding, denoising
from cdkit.engine.batches import Batch, Batches
from cdkit.model import Samples


class Loss(Protocol):
    def __call__(self, model: Any, batch: Batch, seed: int, device: torch.device, accelerator: Any) -> Tensor: ...


class Draw(Protocol):
    def __call__(self, model: Any, batches: Batches) -> Samples | None: ...


class Task(NamedTuple):
    """loss: of one batch, a scalar. draw: pictures of how far it has come; None where there are none."""

    loss: Loss
    draw: Draw


TASKS: Mapping[str, Task] = {
    "denoise": Task(denoising.training_loss, denoising.draw),
    "autoencoder": Task(autoencoding.training_loss, autoencoding.draw),
}
