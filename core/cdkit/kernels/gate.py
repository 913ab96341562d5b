"""gelu_gate: the gated GELU's middle (Shazeer 2020, arXiv 2002.05202), value * gelu(gate), in one pass over both halves."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from cdkit.kernels.switch import takes


def gelu_gate(both: Tensor, bias: Tensor | None = None) -> Tensor:
    """(..., 2 K), values first and gates second, with a bias (2 K,) still to be added or none -> (..., K); gelu is exact."""
    if takes(both) and both.is_contiguous():
        from cdkit.kernels.gate_triton import GeluGateFunction

        return GeluGateFunction.apply(both, bias)
    return plain(both if bias is None else both + bias)


def plain(both: Tensor) -> Tensor:
    value, gate = both.chunk(2, dim=-1)
    return value * F.gelu(gate)
