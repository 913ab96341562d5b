"""lowered: a network that computes in a narrower dtype, channels side by side, and takes and gives what it did before."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


def lowered(network: nn.Module, dtype: torch.dtype) -> nn.Module:
    """In place: weights in `dtype`, channels last. What comes in is cast to it, and what goes out to what came in."""
    network.to(dtype=dtype)
    network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    given: list[torch.dtype] = []

    def narrow(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        del module
        x, *rest = args
        given.append(x.dtype)
        return (x.to(dtype=dtype, memory_format=torch.channels_last), *rest)

    def widen(module: nn.Module, args: tuple[Any, ...], out: Tensor) -> Tensor:
        del module, args
        return out.to(dtype=given.pop(), memory_format=torch.contiguous_format)

    network.register_forward_pre_hook(narrow)
    network.register_forward_hook(widen)
    return network
