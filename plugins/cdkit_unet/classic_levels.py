"""The levels of the textbook U-Net: down, middle, up."""

from __future__ import annotations

import torch
from cdkit.parts import Signals
from torch import Tensor, nn

from cdkit_unet.classic_attention import Attend, Attention
from cdkit_unet.classic_block import ResnetBlock
from cdkit_unet.classic_resample import Downsample, Upsample
from cdkit_unet.common import Common
from cdkit_unet.norm import group_norm


class DownLevel(nn.Module):
    """block, block, norm, attention with residual, `attend` site, keep the skip; Downsample unless it is the last level."""

    def __init__(self, common: Common, level: int, dim: int, dim_out: int, *, heads: int, head_dim: int, last: bool) -> None:
        super().__init__()
        name, stride = f"down.{level}", 2**level
        self.block1 = ResnetBlock(common, f"{name}.block1", dim, dim_out, stride)
        self.block2 = ResnetBlock(common, f"{name}.block2", dim_out, dim_out, stride)
        self.norm = group_norm(dim_out, most=1)
        self.attention = Attention(common, name, dim_out, stride, heads=heads, head_dim=head_dim)
        self.attend = Attend(common, f"{name}.attend", dim_out, stride)
        self.downsample = nn.ModuleList([] if last else [Downsample(dim_out)])

    def forward(self, h: Tensor, emb: Tensor, signals: Signals) -> tuple[Tensor, Tensor]:
        """What the next level starts from, and the skip."""
        h = self.block2(self.block1(h, emb, signals), emb, signals)
        h = h + self.attention(self.norm(h), emb, signals)
        skip = h = self.attend(h, emb, signals)
        for down in self.downsample:
            h = down(h)
        return h, skip


class Middle(nn.Module):
    """block, norm, attention with residual, `attend` site, block."""

    def __init__(self, common: Common, dim: int, stride: int, *, heads: int, head_dim: int) -> None:
        super().__init__()
        self.block1 = ResnetBlock(common, "mid.block1", dim, dim, stride)
        self.norm = group_norm(dim, most=1)
        self.attention = Attention(common, "mid", dim, stride, heads=heads, head_dim=head_dim)
        self.attend = Attend(common, "mid.attend", dim, stride)
        self.block2 = ResnetBlock(common, "mid.block2", dim, dim, stride)

    def forward(self, h: Tensor, emb: Tensor, signals: Signals) -> Tensor:
        h = self.block1(h, emb, signals)
        h = h + self.attention(self.norm(h), emb, signals)
        return self.block2(self.attend(h, emb, signals), emb, signals)


class UpLevel(nn.Module):
    """Concatenate the skip, block, block, norm, self-attention if asked for, `attend` site; Upsample unless it is the finest.

    The normalised map itself goes on, as in the text; self-attention is added to it.
    """

    def __init__(
        self, common: Common, index: int, level: int, dim: int, dim_out: int, *, heads: int, head_dim: int, attention: bool
    ) -> None:
        super().__init__()
        name, stride = f"up.{index}", 2**level
        self.block1 = ResnetBlock(common, f"{name}.block1", 2 * dim, dim_out, stride)
        self.block2 = ResnetBlock(common, f"{name}.block2", dim_out, dim_out, stride)
        self.norm = group_norm(dim_out, most=1)
        attentions = [Attention(common, name, dim_out, stride, heads=heads, head_dim=head_dim)] if attention else []
        self.attention = nn.ModuleList(attentions)
        self.attend = Attend(common, f"{name}.attend", dim_out, stride)
        self.upsample = nn.ModuleList([Upsample(dim_out)] if level else [])

    def forward(self, h: Tensor, skip: Tensor, emb: Tensor, signals: Signals) -> Tensor:
        h = self.block1(torch.cat([h, skip], dim=1), emb, signals)
        h = self.norm(self.block2(h, emb, signals))
        for attention in self.attention:
            h = h + attention(h, emb, signals)
        h = self.attend(h, emb, signals)
        for up in self.upsample:
            h = up(h)
        return h
