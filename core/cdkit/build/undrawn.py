"""Undrawn: weights without numbers. On the meta device there is nothing to draw, and drawing nothing is slow."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import init
from torch.overrides import TorchFunctionMode

# Each of these, on a meta tensor, runs Python code that imports torch's compiler.
METHODS = (Tensor.normal_, Tensor.uniform_, Tensor.random_, Tensor.exponential_)
INITS = (init.normal_, init.uniform_, init.trunc_normal_, init.kaiming_uniform_, init.kaiming_normal_)
DRAWS = frozenset((*METHODS, *INITS, init.xavier_uniform_, init.xavier_normal_, init.orthogonal_))


class Undrawn(TorchFunctionMode):
    """While it lasts, filling a tensor with random numbers leaves it as it is."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given: dict[str, Any] = kwargs or {}
        if func in DRAWS:
            return next(value for value in (*args, *given.values()) if isinstance(value, torch.Tensor))
        return func(*args, **given)
