"""Group normalisation whose groups suit the width (Wu and He 2018, arXiv 1803.08494)."""

from __future__ import annotations

from torch import nn

SMALLEST_GROUP = 4  # channels; with fewer, a group of a small map has too little to normalise over


def group_norm(channels: int, *, most: int = 32, smallest: int = SMALLEST_GROUP, eps: float = 1e-5) -> nn.GroupNorm:
    """GroupNorm of `count_groups(channels, ...)` groups: 32 at every width of Stable Diffusion."""
    return nn.GroupNorm(count_groups(channels, most=most, smallest=smallest), channels, eps=eps)


def count_groups(channels: int, *, most: int = 32, smallest: int = SMALLEST_GROUP) -> int:
    """The largest divisor of `channels` that is at most min(most, channels // smallest), and at least 1."""
    limit = max(1, min(most, channels // smallest))
    return next(groups for groups in range(limit, 0, -1) if channels % groups == 0)
