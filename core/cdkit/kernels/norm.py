"""normalised: group normalisation, a scale and shift of each channel, and SiLU, in one pass where the map lies channels-last."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from cdkit.kernels.switch import takes

HALF = (torch.bfloat16, torch.float16, torch.float32)


def normalised(
    h: Tensor,
    groups: int,
    weight: Tensor,
    bias: Tensor,
    *,
    eps: float,
    silu: bool,
    scale: Tensor | None = None,
    shift: Tensor | None = None,
    offset: Tensor | None = None,
) -> Tensor:
    """SiLU(GroupNorm(h + offset) (1 + scale) + shift), in h's dtype; the sums are taken in float32.

    h (B, C, H, W); weight and bias (C,) of the normalisation (Wu and He 2018, arXiv 1803.08494); scale, shift and offset (B, C)
    or None for nothing, scale and shift both or neither. silu: False leaves the activation out.
    """
    if suits(h):
        from cdkit.kernels.norm_function import GroupNormFunction

        return GroupNormFunction.apply(h, weight, bias, scale, shift, offset, groups, eps, silu)
    h = h if offset is None else h + offset[:, :, None, None]
    out = F.group_norm(h, groups, weight, bias, eps)
    if scale is not None and shift is not None:
        out = (out * (1 + scale[:, :, None, None]) + shift[:, :, None, None]).to(out.dtype)
    return F.silu(out) if silu else out


def joins(h: Tensor, skip: Tensor) -> bool:
    """Is there a kernel of `joined_normalised` for the two? Not while gradients are asked for."""
    return suits(h) and suits(skip) and h.dtype == skip.dtype and not torch.is_grad_enabled()


def joined_normalised(
    h: Tensor,
    skip: Tensor,
    groups: int,
    weight: Tensor,
    bias: Tensor,
    told: tuple[Tensor, Tensor] | tuple[None, None],
    *,
    eps: float,
) -> tuple[Tensor, Tensor]:
    """h with skip's channels behind its own (B, C + D, H, W), and `normalised` of that with SiLU, for which `joins` holds."""
    from cdkit.kernels.norm_launch import Told, forward_of_two

    scale, shift = (None if form is None else form.contiguous() for form in told)
    return forward_of_two(h, skip, groups, Told(weight, bias, scale, shift), eps=eps)


def suits(h: Tensor) -> bool:
    """A map on a GPU whose channels lie side by side, and not also as rows and columns do."""
    return takes(h) and h.dtype in HALF and h.is_contiguous(memory_format=torch.channels_last) and h.shape[1] > 1
