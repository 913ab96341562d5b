"""Text encoder and 20 guided DDIM steps of Stable Diffusion 1's size, one picture, latents out: ours and diffusers' pipeline.

python tests/benchmarks/pipeline.py [--folder FOLDER] [--only ours]    # the folder is made, if it is not there
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch
from cdkit.engine.load import load
from cdkit.fast import hasten
from measured import DEVICE, milliseconds, note, versions, wait

PROMPT, STEPS, GUIDANCE = "a cat on a mat", 20, 7.5
LETTERS = "!abcdefghijklmnopqrstuvwxyz"


def save(folder: Path) -> None:
    """A pipeline of random weights, by diffusers' and transformers' own classes."""
    from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    words = ["<|startoftext|>", "<|endoftext|>", *LETTERS, *(f"{letter}</w>" for letter in LETTERS)]
    vocabulary = folder.with_name(f"{folder.name}-vocabulary")
    vocabulary.mkdir(parents=True, exist_ok=True)
    (vocabulary / "vocab.json").write_text(json.dumps({word: place for place, word in enumerate(words)}))
    (vocabulary / "merges.txt").write_text("#version: 0.2\n")
    text = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
    marks = {"vocab_size": 49408, "projection_dim": 768, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
    blocks: dict[str, Any] = {"down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4}
    process: dict[str, Any] = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}
    torch.manual_seed(0)
    with torch.device(DEVICE):
        StableDiffusionPipeline(
            vae=AutoencoderKL(block_out_channels=(128, 256, 512, 512), layers_per_block=2, sample_size=512, **blocks),
            text_encoder=CLIPTextModel(CLIPTextConfig(**text, **marks)),
            tokenizer=CLIPTokenizer(str(vocabulary / "vocab.json"), str(vocabulary / "merges.txt"), model_max_length=77),
            unet=UNet2DConditionModel(sample_size=64, cross_attention_dim=768, attention_head_dim=8),
            scheduler=DDIMScheduler(**process, timestep_spacing="leading", clip_sample=False, set_alpha_to_one=False),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        ).save_pretrained(folder)


def draw(model: Any) -> torch.Tensor:
    return model.sample([PROMPT], seed=7, steps=STEPS, guidance=GUIDANCE).images


def latents(model: Any) -> torch.Tensor:
    """The same as `draw`, without the autoencoder."""
    kept, model.autoencoder = model.autoencoder, None
    try:
        return draw(model)
    finally:
        model.autoencoder = kept


def ours(folder: Path) -> None:
    began = time.perf_counter()
    model = load(str(folder), device=DEVICE)
    plain = latents(model)
    loaded = time.perf_counter()
    hasten(model)
    first = latents(model)
    note("ours, seconds from hastening to the first latents", time.perf_counter() - loaded)
    note("ours, seconds of loading and a plain drawing before that", loaded - began)
    note("ours, hastened from plain float32", float((first - plain).norm() / plain.norm()))
    note("ours, latents, ms", milliseconds(lambda: latents(model), 10))
    note("ours, picture, ms", milliseconds(lambda: draw(model), 5))


def peer(folder: Path, *, compiled: bool) -> None:
    from diffusers import StableDiffusionPipeline

    pipeline = StableDiffusionPipeline.from_pretrained(folder, torch_dtype=torch.bfloat16).to(DEVICE)
    pipeline.set_progress_bar_config(disable=True)
    how = "compiled" if compiled else "default"
    if compiled:
        pipeline.unet = torch.compile(pipeline.unet.to(memory_format=torch.channels_last), mode="reduce-overhead")

    def call() -> Any:
        return pipeline(PROMPT, num_inference_steps=STEPS, guidance_scale=GUIDANCE, output_type="latent").images

    began = time.perf_counter()
    call()
    wait()
    note(f"peer {how}, seconds to the first latents", time.perf_counter() - began)
    note(f"peer {how}, latents, ms", milliseconds(call, 7, 2))


def main() -> None:
    asked = argparse.ArgumentParser()
    asked.add_argument("--folder", type=Path, default=Path("build/benchmarks/sd1"))
    asked.add_argument("--only", choices=["ours"])
    options = asked.parse_args()
    torch.set_grad_enabled(False)
    note("versions", versions())
    if not options.folder.is_dir():
        save(options.folder)
    ours(options.folder)
    for compiled in (False, True) if options.only is None else ():
        peer(options.folder, compiled=compiled)


main()
