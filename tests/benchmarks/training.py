"""Training steps on a GPU: forward, back, clip, AdamW, bfloat16 autocast over float32 weights; ours with its average too.

python tests/benchmarks/training.py sd         # Stable Diffusion 1's U-Net, 64 x 64 latents, batch 32: ours, diffusers' example
python tests/benchmarks/training.py compiled   # diffusers compiled, channels last, fused AdamW: minutes until it starts
python tests/benchmarks/training.py small      # 25 M weights, 32 x 32 pixels, batch 16: ours plain and replayed, diffusers
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from cdkit.build import assemble
from cdkit.engine.ema import Ema
from cdkit.engine.optimizer import make_optimizer
from cdkit.fast.replayed import Replayed
from cdkit.fast.training import laid_out, quick
from cdkit.model import Model
from cdkit.parts import Stream
from cdkit.spec import TrainSection, read_spec
from measured import DEVICE, milliseconds, note, versions
from sd1 import ours, theirs
from torch import Tensor, nn

SMALL = """
cdkit: 1
name: small
sample: {channels: 3, height: 32, width: 32}
conditions: {text: {use: bytes, dim: 256, depth: 1, heads: 4}}
injectors: [{use: cross_attention, streams: [text], head_dim: 64}]
backbone: {use: unet, width: 64, mult: [1, 2, 4], blocks: 2, attention: [0, 1, 2], head_dim: 64}
"""
Batch = tuple[Tensor, Tensor, Tensor, Tensor]
Forward = Callable[[Tensor, Tensor, Tensor], Tensor]


def batches(batch: int, channels: int, size: int, width: int) -> list[Batch]:
    """Four of pictures, times, tokens and targets: the same for everybody."""
    draws = torch.Generator(device=DEVICE).manual_seed(1)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, device=DEVICE, generator=draws)

    def one() -> Batch:
        times = torch.randint(0, 1000, (batch,), device=DEVICE, generator=draws).float()
        return normal(batch, channels, size, size), times, normal(batch, 77, width), normal(batch, channels, size, size)

    return [one() for _ in range(4)]


def measure(name: str, forward: Forward, network: nn.Module, optimizer: Any, data: list[Batch], ema: Ema | None = None) -> None:
    """Twelve losses, and the median time of a step."""
    parameters, count = list(network.parameters()), iter(range(10**9))

    def step() -> Tensor:
        x, t, tokens, target = data[next(count) % 4]
        with torch.autocast(DEVICE, torch.bfloat16):
            out = forward(x, t, tokens)
        loss = (out.float() - target).square().mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if ema is not None:
            ema.update()
        return loss.detach()

    losses = [round(float(step()), 5) for _ in range(12)]
    torch.cuda.reset_peak_memory_stats()
    note(f"{name}, ms", milliseconds(step, 10, 4))
    note(f"{name}, GiB and losses", [torch.cuda.max_memory_reserved() / 2**30, losses])


def mine(name: str, model: Model, data: list[Batch], *, replayed: bool) -> None:
    network = laid_out(model.backbone)
    predict = Replayed(network) if replayed else network
    optimizer = make_optimizer(network, TrainSection(lr=1e-4))

    def forward(x: Tensor, t: Tensor, tokens: Tensor) -> Tensor:
        return predict(x, t, model.prepare({"text": Stream(tokens=tokens)}))

    with quick(torch.device(DEVICE)):
        measure(name, forward, network, optimizer, data, Ema(network, 0.999))


def peer(name: str, unet: Any, data: list[Batch], *, compiled: bool = False) -> None:
    unet = unet.to(DEVICE).train().requires_grad_(True)
    unet = unet.to(memory_format=torch.channels_last) if compiled else unet
    optimizer = torch.optim.AdamW(unet.parameters(), lr=1e-4, weight_decay=0.0, fused=compiled or None)
    call = torch.compile(unet) if compiled else unet
    measure(name, lambda x, t, tokens: call(x, t, tokens).sample, unet, optimizer, data)


def small() -> Model:
    with TemporaryDirectory() as folder:
        path = Path(folder, "small.yaml")
        path.write_text(SMALL)
        model = assemble(read_spec(path)).to(DEVICE).train()
    for parameter in model.backbone.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.02)
    return model


def small_peer() -> Any:
    from diffusers import UNet2DConditionModel

    blocks: dict[str, Any] = {"down_block_types": ("CrossAttnDownBlock2D",) * 3, "up_block_types": ("CrossAttnUpBlock2D",) * 3}
    shape: dict[str, Any] = {"sample_size": 32, "in_channels": 3, "out_channels": 3, "cross_attention_dim": 256}
    return UNet2DConditionModel(**shape, attention_head_dim=8, block_out_channels=(64, 128, 256), layers_per_block=2, **blocks)


def main() -> None:
    note("versions", versions())
    what = sys.argv[1:] or ["sd", "small"]
    if "sd" in what:
        data = batches(32, 4, 64, 768)
        mine("ours, batch 32", ours().train(), data, replayed=True)
        torch.cuda.empty_cache()
        peer("peer eager, batch 32", theirs(ours()), data)
    if "compiled" in what:
        peer("peer compiled, batch 32", theirs(ours()), batches(32, 4, 64, 768), compiled=True)
    if "small" in what:
        data = batches(16, 3, 32, 256)
        for replayed in (False, True):
            mine(f"small, ours, {'replayed' if replayed else 'not replayed'}", small(), data, replayed=replayed)
        peer("small, peer eager", small_peer(), data)


main()
