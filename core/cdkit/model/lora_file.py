"""read_lora: a safetensors file, ours or of some format -> corrections of a model's layers. Every tensor has a place."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from cdkit.errors import CheckpointError
from cdkit.model.lora import Lora, LoraSet
from cdkit.parts import Adaptable, LoraKey, LoraNames, LoraPart

if TYPE_CHECKING:
    from cdkit.spec import Spec

PARTS: dict[str, LoraPart] = {"down": "down", "up": "up", "alpha": "alpha"}
SHOWN = 3  # keys in an error


def read_lora(spec: Spec, layers: Mapping[str, Adaptable], path: Path) -> LoraSet:
    """The corrections that a file holds, added to a model's layers. CheckpointError names what has no place or does not fit."""
    tensors, metadata = opened(path)
    names = understood(spec, tensors, metadata, layers, path)
    parts: dict[str, dict[str, Tensor]] = {}
    for key, meant in names.keys.items():
        parts.setdefault(meant.layer, {})[meant.part] = tensors[key]
    made = {layer: correction(layers[layer], layer, held, names.alphas.get(layer), path) for layer, held in parts.items()}
    return LoraSet(made)


def opened(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata. CheckpointError if it is no safetensors file, or holds what is no number."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            metadata = dict(file.metadata() or {})
    except (OSError, SafetensorError) as error:
        hint = "a pickle is code, and is never read" if path.suffix in {".pt", ".bin", ".ckpt", ".pth"} else ""
        raise CheckpointError(f"{path}: cannot be read as safetensors: {error}", hint=hint) from error
    broken = [key for key, tensor in tensors.items() if not bool(tensor.float().isfinite().all())]
    if broken:
        raise CheckpointError(f"{path}: {len(broken)} tensors hold NaN or infinity: {some(broken)}")
    return tensors, metadata


def understood(
    spec: Spec, tensors: Mapping[str, Tensor], metadata: Mapping[str, str], layers: Collection[str], path: Path
) -> LoraNames:
    """What every key means, by our own naming or the format that knows most of them. CheckpointError for one that none knows."""
    formats, filled = spec.registry.each("format"), spec.filled()
    asked = [make().lora(tuple(tensors), metadata, layers, filled) for make in formats.values()]
    best = max((ours(tensors, layers), *(found for found in asked if found is not None)), key=lambda found: len(found.keys))
    unknown = [key for key in tensors if key not in best.keys]
    if unknown or not tensors:
        what = f"{len(unknown)} of {len(tensors)} tensors" if tensors else "it holds no tensor; its tensors"
        raise CheckpointError(
            f"{path}: {what} belong to no layer of {spec.name} that a LoRA can adapt: {some(unknown) or 'none'}",
            hint=f"is it a LoRA, and of this kind of model? names are known of: cdkit, {', '.join(formats)}",
        )
    return best


def ours(keys: Collection[str], layers: Collection[str]) -> LoraNames:
    """LAYER.down, LAYER.up and LAYER.alpha, as a run keeps them in its lora.safetensors."""
    found: dict[str, LoraKey] = {}
    for key in keys:
        layer, _, part = key.rpartition(".")
        if layer in layers and part in PARTS:
            found[key] = LoraKey(layer, PARTS[part])
    return LoraNames(found, {})


def correction(target: Adaptable, name: str, held: Mapping[str, Tensor], alpha: float | None, path: Path) -> Lora:
    """One layer's. Where nobody says alpha it is the rank, so that the scale is 1."""
    missing = [part for part in ("down", "up") if part not in held]
    if missing:
        raise CheckpointError(f"{path}: the LoRA of {name} has no {missing[0]}; expected a down and an up of every layer")
    rank = held["down"].shape[0] if held["down"].dim() else 0
    if rank < 1:
        raise CheckpointError(f"{path}: the LoRA of {name} has a down of shape {tuple(held['down'].shape)}; expected (rank, ...)")
    told = float(held["alpha"]) if "alpha" in held and held["alpha"].numel() == 1 else alpha
    lora = Lora(target, rank, rank if told is None else told)
    with torch.no_grad():
        lora.down.copy_(fitted(held["down"], lora.down, f"{path}: the down of {name}"))
        lora.up.copy_(fitted(held["up"], lora.up, f"{path}: the up of {name}"))
    return lora.requires_grad_(False)


def fitted(tensor: Tensor, own: Tensor, what: str) -> Tensor:
    """In our shape: a matrix and a 1 x 1 convolution are the same numbers. CheckpointError for any other shape."""
    if tensor.dim() < 2 or tensor.flatten(1).shape != own.flatten(1).shape or not _alike(tensor, own):
        raise CheckpointError(f"{what} is {tuple(tensor.shape)}, expected {tuple(own.shape)}; it is of another model")
    return tensor.reshape(own.shape)


def _alike(tensor: Tensor, own: Tensor) -> bool:
    kernels = {tuple(value.shape[2:]) or (1, 1) for value in (tensor, own)}
    return len(kernels) == 1


def some(keys: Collection[str]) -> str:
    shown = list(keys)[:SHOWN]
    return ", ".join(shown) + (" …" if len(keys) > SHOWN else "")
