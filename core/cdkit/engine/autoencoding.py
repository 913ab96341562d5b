"""What an autoencoder lowers: what pictures lose on the way through its latents. The noise there is keyed by the picture."""

from __future__ import annotations

from typing import Any

import torch
from einops import rearrange
from torch import Tensor

from cdkit.diffusion.random import keys, normal
from cdkit.engine.batches import Batch, Batches
from cdkit.model import Samples

SHOWN = 8  # pictures


def training_loss(model: Any, batch: Batch, seed: int, device: torch.device, accelerator: Any) -> Tensor:
    """The autoencoder's own loss of one batch of pictures."""
    autoencoder = model.autoencoder
    pixels = batch.images.to(device, non_blocking=True)
    latents = (autoencoder.channels, *(side // autoencoder.factor for side in pixels.shape[-2:]))
    noise = normal(keys(seed, batch.ids, batch.step, "noise"), latents, device=device)
    with accelerator.autocast():
        return autoencoder.loss(pixels, noise).float()


def draw(model: Any, batches: Batches) -> Samples:
    """Pictures that training does not see, each beside what comes back of it."""
    held_out = batches.dataset.split("validation") or batches.examples
    examples = [held_out[place] for place in range(min(SHOWN, len(held_out)))]
    given = torch.stack([example.image for example in examples])
    with torch.inference_mode():
        back = model.autoencoder.decode(model.autoencoder.encode(given.to(model.device))).cpu()
    pairs = rearrange([given, back.clamp(-1, 1)], "two n c h w -> (n two) c h w")
    captions = tuple(word for _ in examples for word in ("given", "back"))
    recipe = {"model": model.spec.name, "of": [example.id for example in examples]}
    return Samples(pairs, captions, (0,) * len(captions), recipe)
