"""The first convolution of a U-Net that is told more channels: one kernel there, two here, ours beside the tap of `concat`."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from cdkit_stable_diffusion.unet_names import Methods

STEM = "stem.weight"


def split(weights: Mapping[str, Tensor], channels: int, methods: Methods) -> dict[str, Tensor]:
    """The kernel (width, channels + more, 3, 3) as the stem's over `channels` and the tap's over the rest, if there is one."""
    kernel = weights[STEM]
    if kernel.shape[1] == channels:
        return dict(weights)
    halves = {STEM: kernel[:, :channels].contiguous(), tap(methods): kernel[:, channels:].contiguous()}
    return {**weights, **halves}


def joined(weights: Mapping[str, Tensor], methods: Methods) -> dict[str, Tensor]:
    """Both kernels as one; the order of channels is the stem's, then the tap's."""
    if tap(methods) not in weights:
        return dict(weights)
    rest = {name: tensor for name, tensor in weights.items() if name != tap(methods)}
    return {**rest, STEM: torch.cat([weights[STEM], weights[tap(methods)]], dim=1)}


def tap(methods: Methods) -> str:
    return f"input_site.taps.{methods.channels}.kernel.weight"
