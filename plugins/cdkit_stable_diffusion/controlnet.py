"""ControlNet beside a U-Net: diffusers' `controlnet` folder as the second half of our backbone, and the hint that it reads."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cdkit.parts import CheckpointError
from torch import Tensor

from cdkit_stable_diffusion.prefixes import renamed
from cdkit_stable_diffusion.tensors import load_model, read_json
from cdkit_stable_diffusion.unet_names import PLAIN, Methods, UnknownName, from_diffusers

CONFIG = Path("controlnet") / "config.json"
CONTROL, HINT = "control.", "hint"
OWN = {
    "controlnet_down_blocks": "zero",
    "controlnet_mid_block": "mid_zero",
    "controlnet_cond_embedding": f"{CONTROL}input_site.taps.{HINT}",
}
# What these say changes the numbers, and ours are these.
EXPECTED: dict[str, tuple[Any, ...]] = {
    "controlnet_conditioning_channel_order": ("rgb",),
    "global_pool_conditions": (False,),
    "class_embed_type": (None,),
    "addition_embed_type": (None, "text_time"),
}


def from_controlnet(name: str, methods: Methods = PLAIN) -> str:
    """diffusers' name of a ControlNet's tensor -> ours. UnknownName for a tensor that ours do not have."""
    own = renamed(name, OWN)
    return own if own is not None else CONTROL + from_diffusers(name, methods)


def control_of(source: Path, stem: str) -> tuple[dict[str, Tensor], dict[str, Any], str]:
    """The tensors of a pipeline's ControlNet by our names, the hint's options, and a note. CheckpointError for another kind."""
    config = read_json(source / CONFIG)
    for key, allowed in EXPECTED.items():
        if key in config and config[key] not in allowed:
            raise CheckpointError(f"{source / CONFIG}: {key} is {config[key]!r}; ours computes {' or '.join(map(repr, allowed))}")
    tensors, file = load_model(source / CONFIG.parent, stem)
    try:
        named = {from_controlnet(name): tensor for name, tensor in tensors.items()}
    except UnknownName as error:
        raise CheckpointError(f"{source / CONFIG.parent / file}: holds {error}, which no ControlNet has") from error
    channels = list(config.get("conditioning_embedding_out_channels") or (16, 32, 96, 256))
    hint = {"channels": channels, "of": int(config.get("conditioning_channels", 3))}
    return named, hint, f"ControlNet: {len(named)} tensors in {file}"


def controlled(spec: Mapping[str, Any], hint: Mapping[str, Any]) -> dict[str, Any]:
    """The spec with a second half that reads a hint, in pixels from 0 to 1, in every branch of guidance."""
    scale = 2 ** (len(hint["channels"]) - 1)
    reader = {"use": "map", "channels": hint["of"], "scale": scale, "levels": "unit", "dropout": 0.0}
    method = {"use": "hint", "name": HINT, "streams": [HINT], "sites": [f"{CONTROL}input"], "channels": hint["channels"]}
    return {
        **spec,
        "conditions": {**spec["conditions"], HINT: reader},
        "injectors": [*spec["injectors"], method],
        "backbone": {**spec["backbone"], "use": "controlnet"},
    }
