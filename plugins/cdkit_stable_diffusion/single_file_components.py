"""What lies beside the U-Net in a single file, its autoencoder and text encoders: out of the file as folders, and into it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cdkit.parts import CheckpointError, Files, Foreign, UsageError
from torch import Tensor

from cdkit_stable_diffusion import components, compvis_vae
from cdkit_stable_diffusion.layout import Layout
from cdkit_stable_diffusion.openclip import UNREAD, from_openclip, to_openclip
from cdkit_stable_diffusion.specs import SIZES
from cdkit_stable_diffusion.tensors import as_json
from cdkit_stable_diffusion.text import config_of, plain

VAE = "first_stage_model."
TEXTS = {  # where a file keeps its text encoders: folder, prefix, and whose names they have
    "SD 1": [("text_encoder", "cond_stage_model.transformer.", "transformers")],
    "SD 2": [("text_encoder", "cond_stage_model.model.", "openclip")],
    "SDXL": [("text_encoder", "conditioner.embedders.0.transformer.", "transformers"),
             ("text_encoder_2", "conditioner.embedders.1.model.", "openclip")],
    "refiner": [("text_encoder_2", "conditioner.embedders.0.model.", "openclip")],
}  # fmt: skip
SCALES = {"SDXL": 0.13025, "refiner": 0.13025}  # of the latents; 0.18215 elsewhere


def generation_of(layout: Layout) -> str:
    """Which of the four families keeps its text encoders where."""
    if layout.added:
        return "refiner" if SIZES.get(layout.added) == 5 else "SDXL"
    return "SD 2" if layout.linear else "SD 1"


def components_in(
    left: dict[str, Tensor], layout: Layout, tokenizer: Path | None, source: Path
) -> tuple[dict[str, Callable[[], Files]], list[dict[str, Any]]]:
    """The autoencoder, the text encoders and the tokenizer as folders, and the text encoders' options in a spec."""
    generation = generation_of(layout)
    beside: dict[str, Callable[[], Files]] = {"vae": _kept(_vae(taken(left, VAE), SCALES.get(generation, 0.18215), source))}
    texts: list[dict[str, Any]] = []
    if tokenizer is not None:
        components.check_tokenizer(tokenizer)
    for folder, prefix, naming in TEXTS[generation]:
        tensors = taken(left, prefix)
        if not tensors:
            raise CheckpointError(f"{source}: is {layout.family} without its text encoder; no tensor begins with {prefix}")
        beside[folder] = _kept(_text(tensors, naming, folder, source))
        if tokenizer is not None:
            reader = components.tokenizer(tokenizer, pads_with_zeros=naming == "openclip")
            beside[components.tokenizer_beside(folder)] = reader
        texts.append({"model": f"here:{folder}", **_read_as(generation, folder)})
    return beside, texts


def _read_as(generation: str, folder: str) -> dict[str, Any]:
    """Which layer each model reads: conditioning as it was trained with."""
    if generation == "SD 1":
        return {}
    if generation == "SD 2":
        return {"layer": "penultimate", "norm": True}
    silence = {"null": "zeros"} if generation == "SDXL" else {}
    return {"layer": "penultimate", "norm": False, **({"pooled": "projected"} if folder == "text_encoder_2" else {}), **silence}


def _kept(files: Files) -> Callable[[], Files]:
    return lambda: files


def _vae(tensors: Mapping[str, Tensor], scale: float, source: Path) -> Files:
    try:
        config = compvis_vae.config_of({name: tuple(tensor.shape) for name, tensor in tensors.items()}, scale)
    except ValueError as error:
        raise CheckpointError(f"{source}: {error}") from error
    found, unknown = compvis_vae.from_compvis(tensors, config)
    refuse([VAE + name for name in unknown], source)
    return {"config.json": as_json(config), f"{components.VAE}.safetensors": found}


def _text(tensors: Mapping[str, Tensor], naming: str, folder: str, source: Path) -> Files:
    if naming == "openclip":
        found, unknown = from_openclip(tensors)
        refuse([name for name in unknown if name not in UNREAD], source)
    else:
        found = plain(tensors)
    projected = folder == "text_encoder_2"
    config = config_of(found, act="gelu" if naming == "openclip" else "quick_gelu", projected=projected)
    if not projected:
        found.pop("text_projection.weight", None)
    return {"config.json": as_json(config), f"{components.TEXT}.safetensors": found}


def vae_written(model: Foreign, target: Path) -> dict[str, Tensor]:
    autoencoder = model.spec.get("autoencoder") or {}
    if not autoencoder or autoencoder["use"].rpartition("/")[2] != "kl":
        raise UsageError("Stable Diffusion's files hold the autoencoder `kl`; this spec has another one, or none")
    files = components.folder_of(model, str(autoencoder["model"]), components.VAE, "vae")
    config = files["config.json"]
    assert isinstance(config, bytes)
    found, unknown = compvis_vae.to_compvis(components.tensors_in(files, components.VAE), json.loads(config))
    refuse([f"vae: {name}" for name in unknown], target)
    return {VAE + name: tensor for name, tensor in found.items()}


def text_written(model: Foreign, options: Mapping[str, Any], prefix: str, naming: str, target: Path) -> dict[str, Tensor]:
    files = components.folder_of(model, str(options["model"]), components.TEXT, "text_encoder")
    tensors = plain(components.tensors_in(files, components.TEXT))
    _check_text(files, tensors, naming)
    if naming == "openclip":
        tensors, unknown = to_openclip(tensors)
        refuse([f"text_encoder: {name}" for name in unknown], target)
    return {prefix + name: tensor for name, tensor in tensors.items()}


def _check_text(files: Files, tensors: Mapping[str, Tensor], naming: str) -> None:
    """UsageError for a text encoder that is not what readers of a file without a configuration take for granted."""
    config = files["config.json"]
    assert isinstance(config, bytes)
    told, taken = json.loads(config), config_of(tensors, act="gelu" if naming == "openclip" else "quick_gelu", projected=False)
    for key in ("num_attention_heads", "hidden_act"):
        if told.get(key) != taken[key]:
            raise UsageError(
                f"a single file holds no configuration: whoever reads it takes {key} {taken[key]!r} of the text encoder, "
                f"which has {told.get(key)!r}",
                hint="convert it to a diffusers folder, which says so",
            )


def taken(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors under a prefix, without it; they are taken out of the dictionary."""
    names = [name for name in tensors if name.startswith(prefix)]
    return {name.removeprefix(prefix): tensors.pop(name) for name in names}


def refuse(unknown: Sequence[str], source: Path) -> None:
    if unknown:
        shown = ", ".join(unknown[:3]) + (" …" if len(unknown) > 3 else "")
        raise CheckpointError(f"{source}: {len(unknown)} tensors belong to no part of Stable Diffusion: {shown}")
