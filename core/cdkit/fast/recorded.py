"""recorded: a network within an encoder whose calls are recorded: text goes through it as one launch."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_unflatten

from cdkit.fast.captured import Captured
from cdkit.fast.recent import Recent
from cdkit.fast.shapes import shapes

KEPT = 4


class Recorded:
    """A network's forward, recorded once for each shape of what it is given; as it was, where that cannot be."""

    def __init__(self, forward: Callable[..., Any]) -> None:
        self._forward = forward
        self._held: Recent[Captured | None] = Recent(KEPT)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        leaves, spec = tree_flatten((args, kwargs))
        tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
        rest = [None if isinstance(leaf, Tensor) else leaf for leaf in leaves]
        if torch.is_grad_enabled() or not all(tensor.is_cuda for tensor in tensors):
            return self._forward(*args, **kwargs)

        def call(*given: Tensor) -> Any:
            left = iter(given)
            filled = [next(left) if isinstance(leaf, Tensor) else leaf for leaf in leaves]
            args, kwargs = tree_unflatten(filled, spec)
            return self._forward(*args, **kwargs)

        held = self._held.get((shapes(tensors), repr(rest), repr(spec)), lambda: attempt(call, tensors))
        return self._forward(*args, **kwargs) if held is None else held(tensors)


def attempt(call: Callable[..., Any], tensors: list[Tensor]) -> Captured | None:
    """The recording, or None, said once, for what cannot be recorded."""
    try:
        return Captured(call, tensors)
    except RuntimeError as error:
        logging.getLogger("cdkit").warning("this cannot be recorded, and runs as it is: %s", str(error).splitlines()[0])
        return None


def record(network: nn.Module) -> None:
    """From now on, in place; once."""
    if not isinstance(network.forward, Recorded):
        network.forward = Recorded(network.forward)
