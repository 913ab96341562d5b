"""Padding a map to a size that can be halved often enough, and cropping it back."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def pad_to(h: Tensor, multiple: int) -> Tensor:
    """h (B, C, H, W) with zeros on all sides (the odd one below, right) so that both sides are multiples: 28 -> 32 for 8."""
    below, right = (-h.shape[2]) % multiple, (-h.shape[3]) % multiple
    return F.pad(h, (right // 2, right - right // 2, below // 2, below - below // 2))


def crop_to(h: Tensor, like: Tensor) -> Tensor:
    """The middle of h, as large as `like`: undoes `pad_to`."""
    height, width = like.shape[2:]
    top, left = (h.shape[2] - height) // 2, (h.shape[3] - width) // 2
    return h[:, :, top : top + height, left : left + width]
