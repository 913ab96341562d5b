"""A CLIP text encoder's tensors under one name each, and the configuration that its shapes tell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

PREFIX = "text_model."
UNREAD = "embeddings.position_ids"  # 0, 1, 2 …: transformers counts for itself


def plain(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """By transformers' published names: newer versions leave `text_model.` out where nothing is projected."""
    named = {name if name.startswith((PREFIX, "text_projection")) else PREFIX + name: value for name, value in tensors.items()}
    return {name: value for name, value in named.items() if name != PREFIX + UNREAD}


def config_of(tensors: Mapping[str, Tensor], *, act: str, projected: bool) -> dict[str, Any]:
    """transformers' configuration of a text encoder, from its tensors by transformers' names."""
    vocabulary, width = tensors[f"{PREFIX}embeddings.token_embedding.weight"].shape
    layers = 1 + max(int(name.split(".")[3]) for name in tensors if name.startswith(f"{PREFIX}encoder.layers."))
    projection = tensors.get("text_projection.weight")
    return {
        "architectures": ["CLIPTextModelWithProjection" if projected else "CLIPTextModel"],
        "model_type": "clip_text_model",
        "vocab_size": vocabulary,
        "bos_token_id": vocabulary - 2,  # CLIP's vocabulary ends with its two marks
        "eos_token_id": vocabulary - 1,
        "hidden_size": width,
        "intermediate_size": tensors[f"{PREFIX}encoder.layers.0.mlp.fc1.weight"].shape[0],
        "num_hidden_layers": layers,
        "num_attention_heads": max(1, width // 64),
        "max_position_embeddings": tensors[f"{PREFIX}embeddings.position_embedding.weight"].shape[0],
        "hidden_act": act,
        "projection_dim": width if projection is None else projection.shape[0],
    }


def without_last_layer(tensors: Mapping[str, Tensor], layers: int) -> dict[str, Tensor]:
    """What a reader of the penultimate layer needs."""
    return {name: value for name, value in tensors.items() if not name.startswith(f"{PREFIX}encoder.layers.{layers - 1}.")}
