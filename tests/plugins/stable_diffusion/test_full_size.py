"""Stable Diffusion 1.x at its full size, in float32, beside diffusers: 859,520,964 weights in each (`make slow`)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from cdkit.build import assemble
from cdkit.parts import Stream
from cdkit.spec import read_spec
from cdkit_stable_diffusion.unet_names import from_diffusers

diffusers = pytest.importorskip("diffusers")
SPEC = Path(__file__).parents[3] / "specs" / "sd_like.yaml"


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_full_size_parity_in_float32(armed_module: Callable[..., Any]) -> None:
    theirs = armed_module(diffusers.UNet2DConditionModel(cross_attention_dim=768, sample_size=64))
    assert sum(weight.numel() for weight in theirs.parameters()) == 859_520_964
    model = assemble(read_spec(SPEC), drawn=False).eval()
    model.backbone.load_state_dict({from_diffusers(name): value for name, value in theirs.state_dict().items()})
    draws = torch.Generator().manual_seed(1)
    x, words = torch.randn(2, 4, 32, 32, generator=draws), torch.randn(2, 77, 768, generator=draws)
    t = torch.tensor([981.0, 20.0])
    with torch.inference_mode():
        expected = theirs(x, t, encoder_hidden_states=words).sample
        found = model.backbone(x, t, model.prepare({"text": Stream(tokens=words)}))
    assert float((found - expected).norm() / expected.norm()) <= 1e-5
