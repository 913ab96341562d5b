"""added: the end of a residual block: a convolution, what the site there makes of its answer, added to what came in."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from cdkit.heard import heard
from cdkit.kernels import adds, plus


class Passing(nn.Module, ABC):
    """A slot that can say that it returns h as it came."""

    @property
    @abstractmethod
    def passes(self) -> bool: ...


def passes(site: nn.Module) -> bool:
    """Does a site certainly return what it is given?"""
    return isinstance(site, Passing) and site.passes


def added(
    h: Tensor, conv: nn.Conv2d, x: Tensor, site: nn.Module, signals: Mapping[str, Mapping[str, Any]], emb: Tensor
) -> Tensor:
    """h + site(conv(x)), maps (B, C, H, W). The bias is added with h, where nobody listens to the convolution or its answer."""
    if conv.bias is None or heard(conv) or not (passes(site) and adds(h)):
        return h + site(conv(x), signals, emb)
    return plus(h, F.conv2d(x, conv.weight, None, conv.stride, conv.padding, conv.dilation, conv.groups), conv.bias)
