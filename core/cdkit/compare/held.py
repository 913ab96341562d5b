"""held: the most bytes that tensors hold at once on a CPU, counted as operations make them and as they are let go of."""

from __future__ import annotations

import weakref
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Held(TorchDispatchMode):
    """While it lasts, `most` grows to the most bytes of all that was made meanwhile; what was there before counts for nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.now, self.most = 0, 0
        self._known: set[int] = set()  # where storages that are counted begin

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None) -> Any:
        """Any operation's answer, its tensors counted; one that shares memory with what was given was made by another."""
        found = func(*args, **(kwargs or {}))
        given = {place(tensor) for tensor in tree_leaves((args, kwargs)) if isinstance(tensor, Tensor)}
        for tensor in tree_leaves(found):
            if isinstance(tensor, Tensor) and tensor.device.type == "cpu" and place(tensor) not in given:
                self._count(tensor)
        return found

    def _count(self, tensor: Tensor) -> None:
        storage, at = tensor.untyped_storage(), place(tensor)
        if at in self._known or not at:
            return
        self._known.add(at)
        self.now += storage.nbytes()
        self.most = max(self.most, self.now)
        weakref.finalize(storage, self._gone, at, storage.nbytes()).atexit = False

    def _gone(self, at: int, size: int) -> None:
        self._known.discard(at)
        self.now -= size


def place(tensor: Tensor) -> int:
    """Where its storage begins; 0 for one that holds nothing."""
    return tensor.untyped_storage().data_ptr() if tensor.device.type != "meta" else 0
