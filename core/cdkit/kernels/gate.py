"""gelu_gate: the gated GELU's middle (Shazeer 2020, arXiv 2002.05202), value * gelu(gate), in one pass over both halves."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from cdkit.kernels.switch import has_triton, is_fast


def gelu_gate(both: Tensor) -> Tensor:
    """(..., 2 K), values first and gates second -> (..., K); gelu is exact."""
    if is_fast() and both.is_cuda and has_triton() and both.is_contiguous():
        from cdkit.kernels.gate_triton import GeluGateFunction

        return GeluGateFunction.apply(both)
    return plain(both)


def plain(both: Tensor) -> Tensor:
    value, gate = both.chunk(2, dim=-1)
    return value * F.gelu(gate)
