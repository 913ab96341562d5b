"""stem: a 3 x 3 convolution of few channels, such as a network begins with; by a kernel at best."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cdkit.heard import heard
from cdkit.kernels.switch import takes

FEW = 14  # channels: nine taps of each are a row of 128 numbers at most
PLAIN = ((3, 3), (1, 1), (1, 1), (1, 1), 1)  # size, stride, padding, dilation and groups
DTYPES = (torch.bfloat16, torch.float16)


def stem(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """conv(x), x (B, C, H, W)."""
    plain = (conv.kernel_size, conv.stride, conv.padding, conv.dilation, conv.groups) == PLAIN
    if conv.bias is None or not plain or heard(conv) or not _suits(x, conv.weight):
        return conv(x)
    from cdkit.kernels.stem_triton import launch

    return launch(x, conv.weight, conv.bias)


def _suits(x: Tensor, weight: Tensor) -> bool:
    return (
        takes(x)
        and not torch.is_grad_enabled()
        and x.dtype == weight.dtype
        and x.dtype in DTYPES
        and x.shape[1] <= FEW
        and x.is_contiguous(memory_format=torch.channels_last)
        and weight.is_contiguous(memory_format=torch.channels_last)
    )
