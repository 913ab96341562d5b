"""Tiny random pipelines, made and saved by diffusers and transformers: the real classes, a few thousand weights."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

LETTERS = "!abcdefghijklmnopqrstuvwxyz"


@pytest.fixture(scope="session")
def sd1(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pipeline of SD 1's structure: convolutions round the transformers, 8 heads, one text encoder."""
    return saved(tmp_path_factory.mktemp("sd1") / "tiny-sd1")


@pytest.fixture(scope="session")
def sd1_of() -> Callable[..., Path]:
    """Another one, at a path, with more of the U-Net's or the scheduler's options."""
    return saved


@pytest.fixture(scope="session")
def armed_module() -> Callable[..., Any]:
    """Weights with which every part matters."""
    return armed


def saved(folder: Path, scheduler: Any = None, **unet: Any) -> Path:
    """Made by diffusers' and transformers' own classes and written by their own `save_pretrained`."""
    from diffusers import DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel

    torch.manual_seed(0)
    options: dict[str, Any] = {
        "sample_size": 8,
        "block_out_channels": (32, 64),
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
        "attention_head_dim": 8,
        "cross_attention_dim": 32,
        **unet,
    }
    pipeline = StableDiffusionPipeline(
        vae=vae(),
        text_encoder=text_encoder(),
        tokenizer=tokenizer(folder.with_name(f"{folder.name}-vocabulary")),
        unet=armed(UNet2DConditionModel(**options)),
        scheduler=scheduler or DDIMScheduler(**PROCESS, clip_sample=False, set_alpha_to_one=True),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(folder)
    return folder


PROCESS: dict[str, Any] = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "steps_offset": 1,
    "timestep_spacing": "leading",
}


@pytest.fixture(scope="session")
def sdxl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pipeline of SDXL's structure: two text encoders, pooled text and six sizes beside the time, two blocks at the bottom."""
    from diffusers import EulerDiscreteScheduler, StableDiffusionXLPipeline, UNet2DConditionModel

    folder = tmp_path_factory.mktemp("sdxl") / "tiny-sdxl"
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(64, 128),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=(1, 2),
        transformer_layers_per_block=(1, 2),
        use_linear_projection=True,
        cross_attention_dim=32 + 48,
        addition_embed_type="text_time",
        addition_time_embed_dim=256,
        projection_class_embeddings_input_dim=1280 + 6 * 256,
    )
    pads = tokenizer(folder.with_name("vocabulary_2"), pad="!")
    pipeline = StableDiffusionXLPipeline(
        vae=vae(),
        text_encoder=text_encoder(),
        text_encoder_2=text_encoder(projected=True, width=48, projection=1280),
        tokenizer=tokenizer(folder.with_name("vocabulary")),
        tokenizer_2=pads,
        unet=armed(unet),
        scheduler=EulerDiscreteScheduler(**PROCESS),
        add_watermarker=False,
    )
    pipeline.save_pretrained(folder)
    return folder


def vae() -> Any:
    from diffusers import AutoencoderKL

    return armed(
        AutoencoderKL(
            block_out_channels=(32, 64),
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
            layers_per_block=1,
            sample_size=16,
        )
    )


def text_encoder(*, projected: bool = False, layers: int = 2, width: int = 32, projection: int = 24) -> Any:
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    config = CLIPTextConfig(
        vocab_size=2 * len(LETTERS) + 2,
        hidden_size=width,
        hidden_act="gelu" if projected else "quick_gelu",
        intermediate_size=37,
        num_attention_heads=1,
        num_hidden_layers=layers,
        projection_dim=projection,
        bos_token_id=2 * len(LETTERS),
        eos_token_id=2 * len(LETTERS) + 1,
        pad_token_id=2 * len(LETTERS) + 1,
    )
    return armed((CLIPTextModelWithProjection if projected else CLIPTextModel)(config))


def tokenizer(folder: Path, pad: str = "<|endoftext|>") -> Any:
    """CLIP's tokenizer with letters for words."""
    from transformers import CLIPTokenizer

    pieces = [*LETTERS, *(f"{letter}</w>" for letter in LETTERS), "<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({piece: place for place, piece in enumerate(pieces)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), pad_token=pad, model_max_length=77)


@torch.no_grad()
def armed(module: nn.Module, seed: int = 0) -> Any:
    """Weights with which every part matters: kernels scaled by their fan-in, gains near 1, biases away from 0."""
    draws = torch.Generator().manual_seed(seed)
    for name, weight in module.named_parameters():
        if weight.ndim > 1:
            fan_in = weight[0].numel()
            weight.copy_(1.2 * torch.randn(weight.shape, generator=draws) / fan_in**0.5)
        elif name.endswith("bias"):
            weight.copy_(0.2 * torch.randn(weight.shape, generator=draws))
        else:
            weight.copy_(1 + 0.2 * torch.randn(weight.shape, generator=draws))
    return module.eval()
