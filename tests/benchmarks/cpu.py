"""A small model on two threads: forward, and forward and back, of ours, diffusers and denoising-diffusion-pytorch.

python tests/benchmarks/cpu.py [ROUNDS]
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import torch
from cdkit.build import assemble
from cdkit.parts import Stream
from cdkit.spec import read_spec
from measured import note, versions
from torch import Tensor, nn

BATCH = 16
SPEC = """
cdkit: 1
name: small
sample: {{channels: 3, height: 32, width: 32}}
conditions: {{text: {{use: bytes, dim: 256, depth: 1, heads: 4}}}}
injectors: [{{use: cross_attention, streams: [text], {heads}}}]
backbone: {{use: unet, width: 64, mult: [1, 2, 4], blocks: 2, attention: [0, 1, 2], {heads}}}
"""


class Arm(NamedTuple):
    forward: Callable[[], Tensor]
    network: nn.Module


def ours(heads: str, inputs: tuple[Tensor, ...], *, half: bool) -> Arm:
    with TemporaryDirectory() as folder:
        path = Path(folder, "small.yaml")
        path.write_text(SPEC.format(heads=heads))
        model = assemble(read_spec(path)).train()
    for parameter in model.backbone.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.02)
    x, t, tokens = inputs

    def forward() -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            return model.backbone(x, t, model.prepare({"text": Stream(tokens=tokens)}))

    return Arm(forward, model.backbone)


def diffusers(heads: int | tuple[int, ...], inputs: tuple[Tensor, ...], *, half: bool) -> Arm:
    """`attention_head_dim` is a number of heads there."""
    from diffusers import UNet2DConditionModel

    blocks: dict[str, Any] = {"down_block_types": ("CrossAttnDownBlock2D",) * 3, "up_block_types": ("CrossAttnUpBlock2D",) * 3}
    shape: dict[str, Any] = {"sample_size": 32, "in_channels": 3, "out_channels": 3, "cross_attention_dim": 256}
    widths = (64, 128, 256)
    unet = UNet2DConditionModel(**shape, attention_head_dim=heads, block_out_channels=widths, layers_per_block=2, **blocks)
    x, t, tokens = inputs

    def forward() -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            return unet.train()(x, t, tokens).sample

    return Arm(forward, unet)


def lucidrains(inputs: tuple[Tensor, ...]) -> Arm:
    """Told nothing, and of about as many weights."""
    from denoising_diffusion_pytorch import Unet

    unet = Unet(dim=104, dim_mults=(1, 2, 4)).train()
    return Arm(lambda: unet(*inputs[:2]), unet)


def seconds(call: Callable[[], Any]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def main() -> None:
    torch.set_num_threads(2)
    note("versions", versions())
    inputs = torch.randn(BATCH, 3, 32, 32), torch.randint(0, 1000, (BATCH,)).float(), torch.randn(BATCH, 77, 256)
    arms = {
        "diffusers' defaults: 8 heads, float32": diffusers(8, inputs, half=False),
        "diffusers, heads of 64, bfloat16": diffusers((1, 2, 4), inputs, half=True),
        "ours: heads of 64, bfloat16": ours("head_dim: 64", inputs, half=True),
        "ours, heads of 64, float32": ours("head_dim: 64", inputs, half=False),
        "ours, 8 heads, float32": ours("heads: 8", inputs, half=False),
        "denoising-diffusion-pytorch, float32": lucidrains(inputs),
    }
    times: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in arms}

    def passes(arm: Arm) -> None:
        arm.forward().float().square().mean().backward()
        arm.network.zero_grad(set_to_none=True)

    for place in range(int(sys.argv[1]) + 1 if len(sys.argv) > 1 else 5):
        for name, arm in arms.items():
            with torch.no_grad():
                forward = seconds(arm.forward)
            both = seconds(lambda arm=arm: passes(arm))
            if place:  # the first warms up
                times[name][0].append(forward)
                times[name][1].append(both)
    for name, (forward, both) in times.items():
        found = {"forward": median(forward), "training": median(both), "best training": min(both)}
        weights = sum(parameter.numel() for parameter in arms[name].network.parameters())
        note(name, {**{key: round(1e3 * value) for key, value in found.items()}, "weights": weights})


main()
