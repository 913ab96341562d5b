"""geglu: a linear layer and the gated GELU of what it makes: one kernel at best, or one that adds the bias where the gate is."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from cdkit.heard import heard
from cdkit.kernels import gated_product, gates, gelu_gate, takes


def geglu(layer: nn.Linear, x: Tensor) -> Tensor:
    """x (..., C) -> (..., K) by a layer from C to 2 K, values first and gates second."""
    if heard(layer) or not takes(x):
        return gelu_gate(layer(x))
    if gates(x, layer.weight, layer.bias):
        return gated_product(x, layer.weight, layer.bias)
    return gelu_gate(F.linear(x, layer.weight), layer.bias)
