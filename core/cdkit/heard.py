"""heard: does somebody listen to a layer? Then a kernel may not take its place."""

from __future__ import annotations

from torch import nn


def heard(layer: nn.Module) -> bool:
    """Hooks of its own: an adapter, a watcher."""
    return bool(layer._forward_hooks or layer._forward_pre_hooks)  # pyright: ignore[reportPrivateUsage]
