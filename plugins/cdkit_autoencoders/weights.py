"""Where an autoencoder's shape and weights are: configurations that ship with us, a folder, or the local cache."""

from __future__ import annotations

import json
import re
from difflib import get_close_matches
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

from cdkit.parts import EnvironmentFault

FILE = "diffusion_pytorch_model.safetensors"
LARGEST = 1 << 20  # bytes of a configuration
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
    if model in shipped:
        return made(shipped[model], model), None
    folder = Path(model) if model and Path(model).is_dir() else cached(model)
    if folder is None:
        near = get_close_matches(model, shipped, n=1, cutoff=0.0)[0]
        raise ValueError(
            f"{model!r} is no folder here, and no configuration of that name ships with cdkit; the nearest that does is "
            f"{near!r} (all: {', '.join(shipped)})"
        )
    return made(read(folder / "config.json"), str(folder / "config.json")), folder


def read(path: Path) -> Any:
    """The contents of a small JSON file; ValueError if it is not one."""
    try:
        if not path.is_file() or path.stat().st_size > LARGEST:
            raise ValueError(f"{path}: expected a JSON file of at most {LARGEST} bytes")
        return json.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{path}: it cannot be read as JSON: {error}") from error


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


def cached(name: str) -> Path | None:
    """The folder of a model in the local Hugging Face cache; None if it is not there. The network is not asked."""
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", name, re.ASCII) or ".." in name:
        return None
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, local_files_only=True))  # nosec B615 # the cache of this machine
    except LocalEntryNotFoundError:
        return None


def located(model: str, folder: Path | None) -> Path:
    """The weights' file. EnvironmentFault, saying where it looked and how to get them, if it is not there."""
    folder = folder or cached(model)
    if folder is None:
        from huggingface_hub.constants import HF_HUB_CACHE

        raise EnvironmentFault(
            f"the weights of {model} are not on this machine; looked in {HF_HUB_CACHE}",
            hint=f"`hf download {model}` puts them there; or name a local folder: `model: path/to/folder`",
        )
    if not (folder / FILE).is_file():
        raise EnvironmentFault(f"{folder} has no {FILE}", hint="name a folder that holds the model's safetensors")
    return folder / FILE


def renamed(key: str) -> str:
    """A tensor's name as today's diffusers writes it: mid_block.attentions.0.query.weight -> ....to_q.weight."""
    parts = key.split(".")
    return ".".join(OLD.get(part, part) if "attentions" in parts else part for part in parts)
