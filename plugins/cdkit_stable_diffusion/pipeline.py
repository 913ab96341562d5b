"""The configuration files of a pipeline's folder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cdkit_stable_diffusion.layout import Layout
from cdkit_stable_diffusion.specs import SIZE_WIDTH

LIBRARIES = {
    "unet": ("diffusers", "UNet2DConditionModel"),
    "vae": ("diffusers", "AutoencoderKL"),
    "text_encoder": ("transformers", "CLIPTextModel"),
    "text_encoder_2": ("transformers", "CLIPTextModelWithProjection"),
    "tokenizer": ("transformers", "CLIPTokenizer"),
    "tokenizer_2": ("transformers", "CLIPTokenizer"),
}


def unet_config(layout: Layout, side: int) -> dict[str, Any]:
    """diffusers' configuration of a layout. side: rows of a latent."""
    wide = [layout.width * factor for factor in layout.mult]
    down = ["CrossAttnDownBlock2D" if depth else "DownBlock2D" for depth in layout.depth]
    up = ["CrossAttnUpBlock2D" if depth else "UpBlock2D" for depth in reversed(layout.depth)]
    depth = [number or 1 for number in layout.depth[:-1]] + [layout.middle]
    heads = layout.heads or [size // (layout.head_dim or 64) for size in wide]
    config: dict[str, Any] = {
        "_class_name": "UNet2DConditionModel",
        "act_fn": "silu",
        "attention_head_dim": heads,
        "block_out_channels": wide,
        "cross_attention_dim": layout.context,
        "down_block_types": down,
        "downsample_padding": 1,
        "flip_sin_to_cos": True,
        "freq_shift": 0,
        "in_channels": layout.channels,
        "layers_per_block": layout.blocks,
        "mid_block_type": "UNetMidBlock2DCrossAttn",
        "norm_eps": 1e-5,
        "norm_num_groups": layout.groups,
        "out_channels": layout.out,
        "sample_size": side,
        "transformer_layers_per_block": depth[0] if len(set(depth)) == 1 else depth,
        "up_block_types": up,
        "use_linear_projection": layout.linear,
    }
    if layout.added:
        config |= {
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": SIZE_WIDTH,
            "projection_class_embeddings_input_dim": layout.added,
        }
    return config


def model_index(layout: Layout, folders: Sequence[str], scheduler: str, *, silent: bool) -> dict[str, Any]:
    """What `from_pretrained` reads first: the pipeline's class and who makes each folder. silent: SDXL's silence is zeros."""
    inpainting = "Inpaint" if layout.channels == 9 else ""
    name = f"StableDiffusionXL{inpainting}Pipeline" if layout.added else f"StableDiffusion{inpainting}Pipeline"
    index: dict[str, Any] = {"_class_name": name, "_diffusers_version": "0.35.0"}
    index["scheduler"] = ["diffusers", scheduler]
    index |= {folder: list(LIBRARIES[folder]) for folder in folders if folder in LIBRARIES}
    if layout.added:
        return index | {"force_zeros_for_empty_prompt": silent}
    return index | {"safety_checker": [None, None], "feature_extractor": [None, None], "requires_safety_checker": False}
