"""Taint: which tensors depend on which, followed through every operation, detached or not, without computing anything."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

# These read only the shape of what they are given, so what they return does not depend on it.
_LIKE = ("zeros_like", "ones_like", "empty_like", "full_like", "rand_like", "randn_like")
_NEW = ("new_zeros", "new_ones", "new_empty", "new_full")
SHAPE_ONLY = frozenset((*_LIKE, *_NEW))


class Taint(TorchDispatchMode):
    """Inside it, whatever is computed from a tainted tensor is tainted. Tensors that share storage share taint."""

    def __init__(self, sources: Sequence[Tensor]) -> None:
        super().__init__()
        self._kept: dict[int, Tensor] = {}
        for source in sources:
            self._mark(source)

    def reached(self, value: Any) -> bool:
        """True if any tensor in this pytree depends on a source."""
        return any(self._key(tensor) in self._kept for tensor in _tensors(value))

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if func.overloadpacket.__name__ not in SHAPE_ONLY and self.reached((args, kwargs)):
            for tensor in _tensors(out):
                self._mark(tensor)
        return out

    def _mark(self, tensor: Tensor) -> None:
        # The tensor is kept so that its storage's address is not given to another one.
        self._kept[self._key(tensor)] = tensor

    def _key(self, tensor: Tensor) -> int:
        # The one identity that a meta tensor's storage has: its data pointer is null.
        return tensor.untyped_storage()._cdata  # pyright: ignore[reportPrivateUsage]


def _tensors(value: Any) -> Iterator[Tensor]:
    return (leaf for leaf in tree_leaves(value) if isinstance(leaf, torch.Tensor))
