"""What others call the layers of a LoRA: diffusers and peft by path, kohya by path with underscores, or by CompVis' path."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from cdkit.parts import CheckpointError, LoraKey, LoraNames, LoraPart, UsageError

from cdkit_stable_diffusion import compvis_unet
from cdkit_stable_diffusion.prefixes import all_renamed
from cdkit_stable_diffusion.specs import bare, layout_from
from cdkit_stable_diffusion.text import PREFIX
from cdkit_stable_diffusion.unet_names import Methods, UnknownName, to_diffusers

KOHYA = re.compile(r"(lora_(?:unet|te[12]?)_[^.]+)\.(lora_down\.weight|lora_up\.weight|alpha)")
KOHYA_PARTS: dict[str, LoraPart] = {"lora_down.weight": "down", "lora_up.weight": "up", "alpha": "alpha"}
# `lora_A` is peft's and today's; `_lora.down`, `.lora.down` and `.lora_linear_layer.down` are what diffusers wrote before.
PEFT = re.compile(r"(.+?)(?:\.lora_(?P<letter>[AB])|(?:_lora|\.lora|\.lora_linear_layer)\.(?P<word>down|up))\.weight")
PEFT_ALPHA = re.compile(r"(.+?)(?:_lora|\.lora|\.lora_linear_layer)?\.alpha")
PARTS: dict[str, LoraPart] = {"A": "down", "B": "up", "down": "down", "up": "up"}
TEXT_ATTENTION = {"to_q": "q_proj", "to_k": "k_proj", "to_v": "v_proj", "to_out": "out_proj"}
METADATA = "lora_adapter_metadata"  # where diffusers keeps peft's configuration, in the header of the file
ENCODER = "encoders."


def kohya(keys: Collection[str], layers: Collection[str], spec: Mapping[str, Any]) -> LoraNames | None:
    """`lora_unet_down_blocks_0_…_to_q.lora_down.weight`. None for a file that has no such name."""
    found = {key: match for key in keys if (match := KOHYA.fullmatch(key))}
    if not found:
        return None
    known = dict(_kohya_names(layers, spec))
    named: dict[str, tuple[str | None, LoraPart]]
    named = {key: (known.get(match[1]), KOHYA_PARTS[match[2]]) for key, match in found.items()}
    return LoraNames({key: LoraKey(layer, part) for key, (layer, part) in named.items() if layer}, {})


def _kohya_names(layers: Collection[str], spec: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Kohya's names and ours. For SD 1 and 2 it takes diffusers' paths, for XL those of sgm; dots are lost in both."""
    unet = unet_names(layers, spec)
    for path, layer in unet.items():
        yield f"lora_unet_{path.replace('.', '_')}", layer
    for theirs, path in _compvis(unet, spec).items():
        yield f"lora_unet_{path.replace('.', '_')}", unet[theirs]
    texts = text_conditions(spec)
    for place, condition in enumerate(texts):
        for path, layer in text_names(layers, condition).items():
            for prefix in ("te", "te1") if place == 0 else ("te2",):
                yield f"lora_{prefix}_{path.replace('.', '_')}", layer
            if len(texts) == 1:
                yield f"lora_te2_{path.replace('.', '_')}", layer  # the refiner's only one


def _compvis(unet: Collection[str], spec: Mapping[str, Any]) -> dict[str, str]:
    """diffusers' paths -> those of CompVis and sgm; none for a network that has no such layout."""
    try:
        layout = layout_from({**spec, "backbone": {**spec["backbone"], "use": "unet"}}, 0)
    except UsageError:
        return {}
    return all_renamed(unet, compvis_unet.names(layout))[0]


def peft(
    keys: Collection[str], metadata: Mapping[str, str], layers: Collection[str], spec: Mapping[str, Any]
) -> LoraNames | None:
    """`unet.down_blocks.0.….to_q.lora_A.weight`, and diffusers' older names. None for a file that has no such name."""
    found: dict[str, tuple[str, LoraPart]] = {
        key: (match[1], PARTS[match["letter"] or match["word"]]) for key in keys if (match := PEFT.fullmatch(key))
    }
    if not found or any(KOHYA.fullmatch(key) for key in keys):
        return None
    found |= {key: (match[1], "alpha") for key in keys if (match := PEFT_ALPHA.fullmatch(key))}
    known = dict(_peft_names(layers, spec))
    named: dict[str, tuple[str | None, LoraPart]]
    named = {key: (known.get(_today(path)), part) for key, (path, part) in found.items()}
    alphas = dict(_alphas(metadata, known))
    return LoraNames({key: LoraKey(layer, part) for key, (layer, part) in named.items() if layer}, alphas)


def _peft_names(layers: Collection[str], spec: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """diffusers' paths and ours, with the name of the component or, for the U-Net, without one."""
    for path, layer in unet_names(layers, spec).items():
        yield path, layer
        yield f"unet.{path}", layer
    texts = text_conditions(spec)
    for place, condition in enumerate(texts):
        for path, layer in text_names(layers, condition).items():
            yield f"{'text_encoder_2' if place else 'text_encoder'}.{path}", layer
            if len(texts) == 1:
                yield f"text_encoder_2.{path}", layer


def _today(path: str) -> str:
    """A path as diffusers writes it today: once, what adapts an attention was part of its `processor`."""
    path = path.replace(".processor.", ".")
    stem, _, last = path.rpartition(".")
    if stem.endswith(".self_attn"):
        return f"{stem}.{TEXT_ATTENTION.get(last, last)}"
    return f"{path}.0" if last == "to_out" else path


def _alphas(metadata: Mapping[str, str], known: Mapping[str, str]) -> Iterator[tuple[str, float]]:
    """Our layers' alphas, where the file's header holds peft's configuration. CheckpointError for one of another arithmetic."""
    told: dict[str, Any] = json.loads(metadata[METADATA]) if METADATA in metadata else {}
    for prefix in ("", "unet.", "text_encoder.", "text_encoder_2."):
        if f"{prefix}lora_alpha" not in told:
            continue
        for switch in ("use_rslora", "use_dora", "lora_bias"):
            if told.get(f"{prefix}{switch}"):
                raise CheckpointError(f"this LoRA was trained with {prefix}{switch}, which is another arithmetic than LoRA's")
        patterns: dict[str, float] = told.get(f"{prefix}alpha_pattern") or {}
        inner = {path: layer for path, layer in known.items() if path.startswith(prefix) and _component(path) == prefix}
        for path, layer in inner.items():
            inside = path.removeprefix(prefix)
            own = (alpha for pattern, alpha in patterns.items() if re.fullmatch(rf"(.*\.)?({pattern})", inside))
            yield layer, float(next(own, told[f"{prefix}lora_alpha"]))


def _component(path: str) -> str:
    first = path.partition(".")[0]
    return f"{first}." if first in {"unet", "text_encoder", "text_encoder_2"} else ""


def unet_names(layers: Collection[str], spec: Mapping[str, Any]) -> dict[str, str]:
    """diffusers' path of a layer -> our name of it, of those that a U-Net of Stable Diffusion has."""
    methods = methods_in(spec)
    found: dict[str, str] = {}
    for layer in layers:
        # The answer's projection is the first of a list in the tap, as it is there.
        path = f"{layer}.0" if layer.endswith(".attn2.to_out") else layer
        try:
            found[to_diffusers(f"{path}.weight", methods).removesuffix(".weight")] = layer
        except UnknownName:
            continue
    return found


def methods_in(spec: Mapping[str, Any]) -> Methods:
    """What a spec calls the injectors of Stable Diffusion's U-Net, whatever else it mounts: the first of each kind."""
    fields = {"cross_attention": "words", "add": "added", "concat": "channels"}
    mounted = [(bare(injector["use"]), injector) for injector in reversed(spec.get("injectors", []))]
    return Methods(**{fields[use]: injector.get("name") or use for use, injector in mounted if use in fields})


def text_conditions(spec: Mapping[str, Any]) -> list[str]:
    """The conditions that CLIP reads, in the order of the spec, which is that of the publishers' text encoders."""
    return [name for name, options in spec.get("conditions", {}).items() if bare(options["use"]) == "clip"]


def text_names(layers: Collection[str], condition: str) -> dict[str, str]:
    """transformers' published path of a text encoder's layer -> our name of it."""
    prefix = f"{ENCODER}{condition}."
    inner = {layer.removeprefix(prefix): layer for layer in layers if layer.startswith(prefix)}
    return {path if path.startswith((PREFIX, "text_projection")) else PREFIX + path: layer for path, layer in inner.items()}
