"""woven: a map of twice the resolution from its four phases: even and odd rows, even and odd columns."""

from __future__ import annotations

import torch
from torch import Tensor

from cdkit.kernels.switch import takes


def woven(phases: Tensor, bias: Tensor | None = None) -> Tensor:
    """(B, 4 C, H + 1, W + 1) -> (B, C, 2 H, 2 W), plus bias (C,).

    Phase (i, j), channels (2 i + j) C and on, holds at (y + i, x + j) what belongs at (2 y + i, 2 x + j); its row and column that
    answer to nothing are left out.
    """
    if takes(phases) and phases.is_contiguous(memory_format=torch.channels_last):
        from cdkit.kernels.phases_triton import WovenFunction

        return WovenFunction.apply(phases, bias)
    channels, h, w = phases.shape[1] // 4, phases.shape[2] - 1, phases.shape[3] - 1
    parts = [phases[:, n * channels : (n + 1) * channels, i : i + h, j : j + w] for n, (i, j) in enumerate(PLACES)]
    rows = [torch.stack(pair, dim=-1).flatten(-2) for pair in (parts[:2], parts[2:])]
    out = torch.stack(rows, dim=-2).flatten(-3, -2)
    return out if bias is None else out + bias[:, None, None]


PLACES = ((0, 0), (0, 1), (1, 0), (1, 1))
