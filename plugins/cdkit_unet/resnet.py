"""ResnetBlock: the residual block of ADM and Stable Diffusion (Dhariwal and Nichol 2021; Rombach 2022, arXiv 2112.10752)."""

from __future__ import annotations

import torch
from cdkit.parts import Settling, Signals, activated, added, biasless, joined
from torch import Tensor, nn

from cdkit_unet.common import Common
from cdkit_unet.moment import Moment
from cdkit_unet.pointwise import PointwiseConv
from cdkit_unet.zero import zeroed


class ResnetBlock(nn.Module, Settling):
    """norm, SiLU, conv, time added, norm, SiLU, dropout, conv; and a shortcut, 1 x 1 where the width changes.

    h (B, channels, H, W), or less and a skip behind it, and the moment -> (B, out, H, W). The second convolution starts at
    zero, as published.
    """

    def __init__(self, common: Common, name: str, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.norm1 = common.norm(channels)
        self.norm1_site = common.open(f"{name}.norm1", "norm", "map", channels, stride)
        self.conv1 = nn.Conv2d(channels, out, 3, padding=1)
        self.time = nn.Linear(common.embedding, out)
        self.norm2 = common.norm(out)
        self.norm2_site = common.open(f"{name}.norm2", "norm", "map", out, stride)
        self.dropout = nn.Dropout(common.dropout)
        self.conv2 = zeroed(nn.Conv2d(out, out, 3, padding=1))
        self.branch_site = common.open(f"{name}.branch", "branch", "map", out, stride)
        self.place = 0  # of its answer to the time among a moment's offsets
        self.shortcut = PointwiseConv(channels, out) if channels != out else nn.Identity()

    def forward(self, h: Tensor, moment: Moment, signals: Signals, skip: Tensor | None = None) -> Tensor:
        emb = moment.emb
        h, branch = joined(self.norm1, self.norm1_site, h, skip, signals, emb)
        offset = moment.offset(self.place, self.time)[: len(h)]
        branch, offset = biasless(self.conv1, branch, offset)
        branch = activated(self.norm2, self.norm2_site, branch, signals, emb, offset)
        return added(self.shortcut(h), self.conv2, self.dropout(branch), self.branch_site, signals, emb)

    def settle(self) -> None:
        """The first convolution's bias joins the time's, which is added right after it."""
        if self.conv1.bias is not None:
            with torch.no_grad():
                self.time.bias.add_(self.conv1.bias)
            self.conv1.bias = None
