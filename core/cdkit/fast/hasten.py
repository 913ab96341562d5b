"""hasten: lay a model out for drawing on its device, in place and for good."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from cdkit.fast.lowered import lowered
from cdkit.fast.pace import Fast
from cdkit.parts import Settling

if TYPE_CHECKING:
    from cdkit.model import Model


def hasten(model: Model, dtype: torch.dtype = torch.bfloat16) -> Model:
    """LoRAs merged, constants folded, the backbone in `dtype` with channels side by side, samplings recorded.

    The same function up to that dtype; for drawing alone, and on a GPU. Returns the model.
    """
    model.merge_loras()
    settle(lowered(model.backbone, dtype))
    if model.autoencoder is not None:
        model.autoencoder.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    model.pace = Fast(graphs=model.device.type == "cuda", exact=dtype == torch.float32)
    return model


def settle(network: nn.Module) -> None:
    """Every part that can be laid out for drawing is."""
    for module in network.modules():
        if isinstance(module, Settling):
            module.settle()
