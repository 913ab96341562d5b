"""A CLIP text encoder's tensors by transformers' names and by OpenCLIP's, which keep query, key and value in one matrix."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

TOP = {
    "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
    "positional_embedding": "text_model.embeddings.position_embedding.weight",
    "ln_final.weight": "text_model.final_layer_norm.weight",
    "ln_final.bias": "text_model.final_layer_norm.bias",
}
LAYER = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "attn.out_proj": "self_attn.out_proj",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}
PROJECTION = "text_projection"  # (D, P) here, a Linear's (P, D) there
UNREAD = frozenset({"logit_scale", "attn_mask"})  # of contrastive training; no generator reads them
JOINED = re.compile(r"transformer\.resblocks\.(\d+)\.attn\.in_proj_(weight|bias)")
INNER = re.compile(r"transformer\.resblocks\.(\d+)\.(.+)\.(weight|bias)")
LAYERS = re.compile(r"text_model\.encoder\.layers\.(\d+)\.(.+)\.(weight|bias)")


def from_openclip(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """Tensors by transformers' names, and the names that were not understood or are read by nobody."""
    found: dict[str, Tensor] = {}
    unknown: list[str] = []
    for name, tensor in tensors.items():
        joined, inner = JOINED.fullmatch(name), INNER.fullmatch(name)
        if name in TOP:
            found[TOP[name]] = tensor
        elif name == PROJECTION:
            found["text_projection.weight"] = tensor.T.contiguous()
        elif joined:
            layer, kind = joined.groups()
            for part, rows in zip("qkv", tensor.chunk(3), strict=True):
                found[f"text_model.encoder.layers.{layer}.self_attn.{part}_proj.{kind}"] = rows.contiguous()
        elif inner and inner[2] in LAYER:
            found[f"text_model.encoder.layers.{inner[1]}.{LAYER[inner[2]]}.{inner[3]}"] = tensor
        else:
            unknown.append(name)
    return found, unknown


def to_openclip(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """Tensors by OpenCLIP's names, and the names that were not understood."""
    top, layer = {new: old for old, new in TOP.items()}, {new: old for old, new in LAYER.items()}
    found: dict[str, Tensor] = {}
    unknown: list[str] = []
    for name, tensor in tensors.items():
        inner = LAYERS.fullmatch(name)
        if name in top:
            found[top[name]] = tensor
        elif name == "text_projection.weight":
            found[PROJECTION] = tensor.T.contiguous()
        elif inner and inner[2] in layer:
            found[f"transformer.resblocks.{inner[1]}.{layer[inner[2]]}.{inner[3]}"] = tensor
        elif inner and inner[2] == "self_attn.q_proj":
            rows = [tensors[name.replace("q_proj", f"{part}_proj")] for part in "qkv"]
            found[f"transformer.resblocks.{inner[1]}.attn.in_proj_{inner[3]}"] = torch.cat(rows)
        elif not (inner and inner[2] in {"self_attn.k_proj", "self_attn.v_proj"}):
            unknown.append(name)
    return found, unknown
