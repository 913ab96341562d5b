"""Stable Diffusion 1's U-Net with random weights, ours and diffusers', the same numbers in both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from cdkit.build import assemble
from cdkit.model import Model
from cdkit.spec import read_spec
from measured import DEVICE
from torch import Tensor

SPEC = Path(__file__).parents[2] / "specs" / "sd_like.yaml"
MACS = 401.6e9  # of a picture in a step, attention included


def ours() -> Model:
    """Every weight drawn, those too that start at zero."""
    model = assemble(read_spec(SPEC), drawn=False)
    model.backbone.to_empty(device=DEVICE)
    draws = torch.Generator(device=DEVICE).manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.backbone.named_parameters():
            if parameter.dim() > 1:
                parameter.normal_(0, parameter[0].numel() ** -0.5, generator=draws)
            else:
                parameter.normal_(float(name.endswith("weight")), 0.03, generator=draws)
    return model.eval()


def theirs(model: Model) -> Any:
    """diffusers' network over the tensors of ours."""
    from cdkit_stable_diffusion.unet_names import to_diffusers
    from diffusers import UNet2DConditionModel

    with torch.device("meta"):
        unet = UNet2DConditionModel(sample_size=64, cross_attention_dim=768, attention_head_dim=8)
    unet.load_state_dict({to_diffusers(key): value for key, value in model.backbone.state_dict().items()}, assign=True)
    return unet.eval()


def inputs(batch: int, size: int = 64) -> tuple[Tensor, Tensor, Tensor]:
    """Latents, times and 77 tokens."""
    x, tokens = torch.randn(batch, 4, size, size, device=DEVICE), torch.randn(batch, 77, 768, device=DEVICE)
    return x, torch.full((batch,), 500.0, device=DEVICE), tokens
