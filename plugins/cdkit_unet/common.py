"""Common: what every block of one U-Net shares while it is being made."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from cdkit.parts import Layout, Mount, Site, SiteKind
from torch import nn

from cdkit_unet.heads import Heads
from cdkit_unet.norm import SMALLEST_GROUP, group_norm


@dataclass(frozen=True, slots=True)
class Common:
    """The mount, and the options that do not change from level to level."""

    mount: Mount
    embedding: int  # E
    groups: int = 32
    smallest_group: int = SMALLEST_GROUP
    dropout: float = 0.0
    heads: Heads = field(default_factory=Heads)
    projection: Literal["conv", "linear"] = "conv"
    padded: int = 1  # the multiples that the picture is padded to where h is opened to others

    def norm(self, channels: int, *, eps: float = 1e-5) -> nn.GroupNorm:
        """A normalisation of so many groups."""
        return group_norm(channels, most=self.groups, smallest=self.smallest_group, eps=eps)

    def open(self, name: str, kind: SiteKind, layout: Layout, width: int, stride: int, *, keys: int = 0) -> nn.Module:
        """A slot at a new site of this name."""
        return self.mount(Site(name, kind, layout, width, stride, self.embedding, keys, self.padded))
