"""Layers that start at zero, so that the branch which they end starts as nothing."""

from __future__ import annotations

from typing import TypeVar

from torch import nn

AnyModule = TypeVar("AnyModule", bound=nn.Module)


def zeroed(module: AnyModule) -> AnyModule:
    """The module with every parameter set to zero (ADM's `zero_module`, Dhariwal and Nichol 2021, arXiv 2105.05233)."""
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    return module
