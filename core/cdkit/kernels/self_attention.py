"""self_attended: attention of rows to each other (Vaswani 2017, arXiv 1706.03762), for heads that the library is slow at."""

from __future__ import annotations

import torch
from torch import Tensor

from cdkit.kernels.hopper import gluon_knows
from cdkit.kernels.switch import takes

WIDTH = 40  # channels of a head: Stable Diffusion 1's, where most of its rows are; the library does them as if they were 64
ROWS = 256  # that a program answers


def self_attends(together: Tensor, heads: int) -> bool:
    """Is there a kernel of `self_attended` for the two? Not while gradients are asked for."""
    return (
        takes(together)
        and not torch.is_grad_enabled()
        and together.dtype == torch.bfloat16
        and together.is_contiguous()
        and together.shape[-1] == 3 * heads * WIDTH
        and together.shape[1] % ROWS == 0
        and gluon_knows(together.device)
    )


def self_attended(together: Tensor, heads: int) -> Tensor:
    """softmax(q k^T / sqrt(40)) v, every head: queries, keys and values (B, N, 3 C) side by side -> (B, N, C).

    Exponents are taken relative to the largest of a row's first 64 scores. Softmax is the same from wherever they are taken;
    should one be 2^100 times as large as that, which shows in the row's sum, the rows are done again, relative to the largest
    of all so far.
    """
    from cdkit.kernels.self_attention_gluon import launch

    return launch(together, heads)
