"""biasless: a convolution whose bias is added where something else is: by the kernel that normalises its answer."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from cdkit.heard import heard
from cdkit.kernels import suits


def biasless(conv: nn.Conv2d, x: Tensor, offset: Tensor) -> tuple[Tensor, Tensor]:
    """conv(x) (B, C, H, W) and an offset (B, C) that is to be added to it: the bias is part of the one or of the other."""
    if conv.bias is None or heard(conv) or not suits(x):
        return conv(x), offset
    return F.conv2d(x, conv.weight, None, conv.stride, conv.padding, conv.dilation, conv.groups), offset + conv.bias
