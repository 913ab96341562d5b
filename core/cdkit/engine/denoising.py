"""What a denoiser lowers: the weighted squared error of its prediction. Times, noise and silences are keyed by the picture."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from cdkit.diffusion.random import keys, normal, uniform
from cdkit.engine.batches import Batch, Batches
from cdkit.model import Samples


def training_loss(model: Any, batch: Batch, seed: int, device: torch.device, accelerator: Any) -> Tensor:
    """The weighted squared error of one batch; its times, noise and silences are keyed by (seed, picture, step)."""
    diffusion = model.diffusion
    clean = batch.images.to(device, non_blocking=True)
    if model.autoencoder is not None and not batch.latent:
        with torch.no_grad():
            clean = model.autoencoder.encode(clean)
    noise = normal(keys(seed, batch.ids, batch.step, "noise"), tuple(clean.shape[1:]), device=device)
    t = diffusion.times(uniform(keys(seed, batch.ids, batch.step, "time"), (), device=device))
    keep = silences(model, batch, seed)
    with accelerator.autocast():
        predicted = model(diffusion.noised(clean, noise, t), t, batch.raw, keep)
    error = (predicted.float() - diffusion.target(clean, noise, t)).square().flatten(1).mean(1)
    return (diffusion.weight(t) * error).mean()


def silences(model: Any, batch: Batch, seed: int) -> dict[str, Tensor]:
    """Which conditions are told to which pictures; encoders of one column keep silent together. Counted in the ledger."""
    keep: dict[str, Tensor] = {}
    for name in model.told:
        draws = uniform(keys(seed, batch.ids, batch.step, f"silence:{model.readers[name].column}"), ())
        keep[name] = draws >= model.spec.conditions[name].dropout
        model.ledger.record(name, keep[name])
    return keep


def draw(model: Any, batches: Batches) -> Samples | None:
    """Of fixed prompts and seeds, or eight of an unconditional model; nothing where the spec has no sampler."""
    del batches
    if model.spec.sampler is None:
        return None
    prompts = list(model.spec.train.prompts)
    return model.sample(prompts, seed=0) if prompts else model.sample(n=8, seed=0)
