"""activated: what stands before a convolution: the normalised map, what the site there makes of it, SiLU; by a kernel at best."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cdkit.kernels import is_fast, joined_normalised, joins, normalised

Modulation: TypeAlias = tuple[Tensor, Tensor] | tuple[None, None]  # scale and shift (B, C) of h (1 + scale) + shift; or h itself


class Modulating(nn.Module, ABC):
    """The slot at a `norm` site: it can say what it does to h, if that is to scale and shift each channel."""

    @abstractmethod
    def modulation(self, signals: Mapping[str, Mapping[str, Any]], emb: Tensor) -> Modulation | None:
        """What all its taps together do; None: something else."""


def activated(
    norm: nn.GroupNorm,
    site: nn.Module,
    h: Tensor,
    signals: Mapping[str, Mapping[str, Any]],
    emb: Tensor,
    offset: Tensor | None = None,
) -> Tensor:
    """SiLU(site(norm(h + offset))): h (B, C, H, W), offset (B, C) or None, in h's shape."""
    told = site.modulation(signals, emb) if is_fast() and isinstance(site, Modulating) else None
    if told is None:
        return F.silu(site(norm(moved(h, offset)), signals, emb))
    return by_kernel(norm, h, silu=True, told=told, offset=offset)


def joined(
    norm: nn.GroupNorm,
    site: nn.Module,
    h: Tensor,
    skip: Tensor | None,
    signals: Mapping[str, Mapping[str, Any]],
    emb: Tensor,
) -> tuple[Tensor, Tensor]:
    """h with the channels of the skip behind its own, if there is one, and that `activated`."""
    if skip is None:
        return h, activated(norm, site, h, signals, emb)
    told = site.modulation(signals, emb) if joins(h, skip) and isinstance(site, Modulating) else None
    if told is None:
        both = torch.cat([h, skip], dim=1)
        return both, activated(norm, site, both, signals, emb)
    assert norm.weight is not None, "a normalisation of ours has weights"
    assert norm.bias is not None, "a normalisation of ours has weights"
    return joined_normalised(h, skip, norm.num_groups, norm.weight, norm.bias, told, eps=norm.eps)


def by_kernel(
    norm: nn.GroupNorm, h: Tensor, *, silu: bool = False, told: Modulation = (None, None), offset: Tensor | None = None
) -> Tensor:
    """norm(h + offset), scaled and shifted as told, in one kernel where there is one for h."""
    assert norm.weight is not None, "a normalisation of ours has weights"
    assert norm.bias is not None, "a normalisation of ours has weights"
    scale, shift = told
    return normalised(
        h, norm.num_groups, norm.weight, norm.bias, eps=norm.eps, silu=silu, scale=scale, shift=shift, offset=offset
    )


def moved(h: Tensor, offset: Tensor | None) -> Tensor:
    """h (B, C, H, W) + offset (B, C), at every pixel."""
    return h if offset is None else h + offset[:, :, None, None]
