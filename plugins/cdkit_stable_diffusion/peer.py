"""Peer: Stable Diffusion's U-Net as diffusers computes it, over the tensors of ours: to be measured against."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from cdkit.parts import EnvironmentFault, Foreign, Stream, UsageError
from torch import Tensor, nn

from cdkit_stable_diffusion import stem
from cdkit_stable_diffusion.pipeline import unet_config
from cdkit_stable_diffusion.specs import bare, layout_from, methods_of
from cdkit_stable_diffusion.unet_names import to_diffusers


class Peer(nn.Module):
    """x (B, C, H, W), t (B,) and streams, of which it hears the words -> what is predicted, as x."""

    def __init__(self, unet: Any, words: str) -> None:
        super().__init__()
        self.unet, self.words = unet, words

    def forward(self, x: Tensor, t: Tensor, streams: Mapping[str, Stream]) -> Tensor:
        return self.unet(x, t, streams[self.words].tokens, return_dict=False)[0]


def peer_of(model: Foreign) -> Peer:
    """UsageError for what Stable Diffusion 1 and 2 have no place for; EnvironmentFault without diffusers."""
    try:
        from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    except ImportError as error:
        raise EnvironmentFault(
            "diffusers is not installed, and its network is asked for", hint='pip install "cdkit[diffusers]"'
        ) from error
    methods = methods_of(model.spec)
    layout = layout_from(model.spec, context_of(model.weights))
    if layout.added or layout.channels != layout.out:
        raise UsageError("diffusers' network is measured where it hears words alone; this spec tells it more")
    with torch.device("meta"):
        unet: Any = UNet2DConditionModel.from_config(unet_config(layout, int(model.spec["sample"]["height"])))
    tensors = {to_diffusers(name, methods): tensor for name, tensor in stem.joined(model.weights, methods).items()}
    unet.load_state_dict(tensors, assign=True)
    reads = next(each for each in model.spec["injectors"] if bare(each["use"]) == "cross_attention")
    return Peer(unet, reads["streams"][0])


def context_of(weights: Mapping[str, Tensor]) -> int:
    """The width of a word."""
    return next(tensor.shape[1] for name, tensor in weights.items() if name.endswith("attn2.to_k.weight"))
