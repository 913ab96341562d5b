"""Autoencoder tensors by diffusers' names and by CompVis', whose attention is written as 1 x 1 convolutions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from cdkit_stable_diffusion.prefixes import all_renamed, turned

HALVES = {
    "conv_in": "conv_in",
    "conv_norm_out": "norm_out",
    "conv_out": "conv_out",
    "mid_block.resnets.0": "mid.block_1",
    "mid_block.resnets.1": "mid.block_2",
    "mid_block.attentions.0.group_norm": "mid.attn_1.norm",
}
ATTENTION = {"to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}
CONVOLUTIONS = frozenset(f"mid.attn_1.{name}.weight" for name in ATTENTION.values())


def names(levels: int, blocks: int) -> Mapping[str, str]:
    """Prefixes of diffusers -> prefixes of CompVis. blocks: residual blocks a level of the encoder."""
    table = {"quant_conv": "quant_conv", "post_quant_conv": "post_quant_conv"}
    for half in ("encoder", "decoder"):
        inner = {**HALVES, **{f"mid_block.attentions.0.{a}": f"mid.attn_1.{b}" for a, b in ATTENTION.items()}}
        inner |= _levels("down", "down", range(levels), blocks) if half == "encoder" else {}
        inner |= _levels("up", "up", range(levels - 1, -1, -1), blocks + 1) if half == "decoder" else {}
        table |= {f"{half}.{theirs}": f"{half}.{ours}" for theirs, ours in inner.items()}
    return table


def _levels(theirs: str, ours: str, order: range, blocks: int) -> dict[str, str]:
    """CompVis counts a decoder's levels from the finest, diffusers from the coarsest; the last one's resampler is left out."""
    table: dict[str, str] = {}
    for place, level in enumerate(order):
        for block in range(blocks):
            source, target = f"{theirs}_blocks.{place}.resnets.{block}", f"{ours}.{level}.block.{block}"
            table |= {source: target, f"{source}.conv_shortcut": f"{target}.nin_shortcut"}
        table[f"{theirs}_blocks.{place}.{theirs}samplers.0.conv"] = f"{ours}.{level}.{theirs}sample.conv"
    return table


def to_compvis(tensors: Mapping[str, Tensor], config: Mapping[str, Any]) -> tuple[dict[str, Tensor], list[str]]:
    """Tensors by CompVis' names, and the names that were not understood."""
    found, unknown = all_renamed(tensors, names(len(config["block_out_channels"]), int(config["layers_per_block"])))
    return {new: _kernel(new, tensors[old]) for old, new in found.items()}, unknown


def from_compvis(tensors: Mapping[str, Tensor], config: Mapping[str, Any]) -> tuple[dict[str, Tensor], list[str]]:
    """Tensors by diffusers' names, and the names that were not understood."""
    table = turned(names(len(config["block_out_channels"]), int(config["layers_per_block"])))
    found, unknown = all_renamed(tensors, table)
    return {new: _matrix(old, tensors[old]) for old, new in found.items()}, unknown


def _kernel(name: str, tensor: Tensor) -> Tensor:
    return tensor[:, :, None, None] if _is_convolution(name) and tensor.ndim == 2 else tensor


def _matrix(name: str, tensor: Tensor) -> Tensor:
    return tensor[:, :, 0, 0] if _is_convolution(name) and tensor.ndim == 4 else tensor


def _is_convolution(name: str) -> bool:
    return name.partition(".")[2] in CONVOLUTIONS


def config_of(shapes: Mapping[str, tuple[int, ...]], scale: float) -> dict[str, Any]:
    """diffusers' configuration of an autoencoder, from the shapes of its tensors by CompVis' names. ValueError if it is none."""
    try:
        levels = 1 + max(int(name.split(".")[2]) for name in shapes if name.startswith("encoder.down."))
        blocks = 1 + max(int(name.split(".")[4]) for name in shapes if name.startswith("encoder.down.0.block."))
        wide = [shapes[f"encoder.down.{level}.block.0.conv1.weight"][0] for level in range(levels)]
        latent = shapes["decoder.conv_in.weight"][1]
    except (KeyError, ValueError) as error:
        raise ValueError(f"these tensors are no autoencoder of Stable Diffusion: {error}") from error
    return {
        "_class_name": "AutoencoderKL",
        "in_channels": 3,
        "out_channels": 3,
        "down_block_types": ["DownEncoderBlock2D"] * levels,
        "up_block_types": ["UpDecoderBlock2D"] * levels,
        "block_out_channels": wide,
        "layers_per_block": blocks,
        "latent_channels": latent,
        "norm_num_groups": 32,
        "act_fn": "silu",
        "sample_size": 512,
        "scaling_factor": scale,
    }
