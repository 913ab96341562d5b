"""Where an autoencoder's shape and weights are: configurations that ship with us, a folder, or the local cache."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

from cdkit.parts import EnvironmentFault, cached_model, missing_model, model_folder, read_json

FILE = "diffusion_pytorch_model.safetensors"
OLD = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}  # attention's names before diffusers 0.12


class Shape(NamedTuple):
    """What decides the network of an AutoencoderKL."""

    block_out_channels: tuple[int, ...]
    layers_per_block: int
    latent_channels: int
    scaling_factor: float = 0.18215
    norm_num_groups: int = 32


def shape_of(model: str) -> tuple[Shape, Path | None]:
    """The shape of a model, and its folder if it is one or is cached. ValueError if it is unknown or cannot be read."""
    shipped: dict[str, Any] = json.loads(resources.files("cdkit_autoencoders").joinpath("configs", "kl.json").read_text("utf-8"))
    folder = model_folder(model, shipped)
    if folder is None:
        return made(shipped[model], model), None
    return made(read_json(folder / "config.json"), str(folder / "config.json")), folder


def made(config: Any, where: str) -> Shape:
    """The five figures of a configuration that are read; ValueError if they make no network."""
    if not isinstance(config, dict):
        raise ValueError(f"{where}: expected a JSON object")
    found: dict[str, Any] = {key: config[key] for key in Shape._fields if config.get(key) is not None}
    try:
        found["block_out_channels"] = tuple(map(int, found["block_out_channels"]))
        shape = Shape(**found)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{where}: it does not describe an AutoencoderKL: {error}") from error
    figures: tuple[Any, ...] = (*shape.block_out_channels, *shape[1:])
    if not shape.block_out_channels or not all(isinstance(f, int | float) and 0 < f <= 65_536 for f in figures):
        raise ValueError(f"{where}: expected figures from 1 to 65536, got {shape}")
    return shape


def located(model: str, folder: Path | None) -> Path:
    """The weights' file. EnvironmentFault, saying where it looked and how to get them, if it is not there."""
    folder = folder or cached_model(model)
    if folder is None:
        raise missing_model(model)
    if not (folder / FILE).is_file():
        raise EnvironmentFault(f"{folder} has no {FILE}", hint="name a folder that holds the model's safetensors")
    return folder / FILE


def renamed(key: str) -> str:
    """A tensor's name as today's diffusers writes it: mid_block.attentions.0.query.weight -> ....to_q.weight."""
    parts = key.split(".")
    return ".".join(OLD.get(part, part) if "attentions" in parts else part for part in parts)
