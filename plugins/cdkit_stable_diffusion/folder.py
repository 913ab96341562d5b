"""format `diffusers`: a pipeline's folder, one folder for each of U-Net, autoencoder, text encoders, tokenizers, scheduler."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cdkit.hooks import hookimpl
from cdkit.parts import CheckpointError, Files, Foreign, Format, LoraNames, UsageError
from torch import Tensor, nn

from cdkit_stable_diffusion import components, ip_adapter, lora_names, stem
from cdkit_stable_diffusion.controlnet import CONFIG, control_of, controlled
from cdkit_stable_diffusion.layout import Layout, layout_of, with_heads
from cdkit_stable_diffusion.peer import context_of, peer_of
from cdkit_stable_diffusion.pipeline import model_index, unet_config
from cdkit_stable_diffusion.process import diffusion_of, sampler_of, scheduler_of
from cdkit_stable_diffusion.specs import layout_from, methods_of, spec_of
from cdkit_stable_diffusion.tensors import as_json, load_model, read_json, write_files
from cdkit_stable_diffusion.text import plain, without_last_layer
from cdkit_stable_diffusion.unet_names import PLAIN, UnknownName, from_diffusers, to_diffusers

# What these say changes the numbers, and ours are these.
EXPECTED: dict[str, tuple[Any, ...]] = {
    "act_fn": ("silu", "swish"),
    "addition_embed_type": (None, "text_time"),
    "center_input_sample": (False,),
    "class_embed_type": (None,),
    "conv_in_kernel": (3,),
    "cross_attention_norm": (None,),
    "downsample_padding": (1,),
    "dual_cross_attention": (False,),
    "encoder_hid_dim": (None,),
    "flip_sin_to_cos": (True,),
    "freq_shift": (0,),
    "mid_block_type": ("UNetMidBlock2DCrossAttn",),
    "norm_eps": (1e-5,),
    "num_class_embeds": (None,),
    "only_cross_attention": (False,),
    "resnet_time_scale_shift": ("default",),
    "time_embedding_type": ("positional",),
}


class Diffusers(Format):
    """`StableDiffusionPipeline.save_pretrained`'s folder, SD 1 and 2 and XL. safetensors only, whole, sharded, or fp16."""

    def recognises(self, source: Path) -> bool:
        return (source / "unet" / "config.json").is_file()

    def read(
        self, source: Path, *, averaged: bool | None = None, prediction: str | None = None, tokenizer: Path | None = None
    ) -> Foreign:
        """CheckpointError for a U-Net that ours is not. A folder holds one set of weights, and does not say which."""
        del tokenizer
        if averaged is not None:
            raise UsageError(
                f"{source}: a diffusers folder holds one set of weights, and does not say which", hint="leave --weights out"
            )
        tensors, file = load_model(source / "unet", components.VAE)
        layout = _layout(source / "unet" / "config.json", tensors)
        scheduler = _scheduler(source)
        diffusion = diffusion_of(scheduler) | ({"prediction": prediction} if prediction else {})
        sampler, notes = sampler_of(scheduler)
        side = int(read_json(source / "unet" / "config.json").get("sample_size") or 64)
        spec = spec_of(layout, name=_name(source), side=side, diffusion=diffusion, sampler=sampler, texts=_texts(source, layout))
        found = (
            f"architecture: {layout.family}",
            f"U-Net: {len(tensors)} tensors in {file}",
            "weights: one set; the folder does not say whether they are averaged",
        )
        weights = stem.split(_named(tensors, source / "unet" / file), layout.out, PLAIN)
        if (source / CONFIG).is_file():
            control, hint, note = control_of(source, components.VAE)
            weights, spec, found = {**weights, **control}, controlled(spec, hint), (*found, note)
        return Foreign(spec, weights, None, _beside(source), (*found, *notes))

    def write(self, model: Foreign, target: Path) -> Sequence[str]:
        """UsageError for a spec that the pipelines of Stable Diffusion cannot express."""
        methods = methods_of(model.spec)
        texts = dict(components.texts_of(model.spec))
        layout = layout_from(model.spec, context_of(model.weights))
        vae = _vae(model)
        scheduler = scheduler_of(model.spec["diffusion"], model.spec.get("sampler"))
        folders: dict[str, Files] = {"vae": vae, "scheduler": {"scheduler_config.json": as_json(scheduler)}}
        unet = {to_diffusers(name, methods): tensor for name, tensor in stem.joined(model.weights, methods).items()}
        side = int(model.spec["sample"]["height"])
        folders["unet"] = {"config.json": as_json(unet_config(layout, side)), f"{components.VAE}.safetensors": unet}
        notes: list[str] = []
        for place, options in zip(_places(layout, len(texts)), texts.values(), strict=True):
            folders[place], note = _text_encoder(model, options, layout)
            folders[components.tokenizer_beside(place)] = components.tokenizer_of(model, str(options["model"]))
            notes += note
        for name, files in folders.items():
            write_files(target / name, files)
        held = [name for name, files in folders.items() if files]
        index = model_index(layout, held, scheduler["_class_name"], silent=_silent(list(texts.values()), layout))
        write_files(target, {"model_index.json": as_json(index)})
        return [f"architecture: {layout.family}", f"U-Net: {len(unet)} tensors by diffusers' names", *notes]

    def network(self, model: Foreign) -> nn.Module:
        return peer_of(model)

    def lora(
        self, keys: Collection[str], metadata: Mapping[str, str], layers: Collection[str], spec: Mapping[str, Any]
    ) -> LoraNames | None:
        """Names of diffusers and peft."""
        return lora_names.peft(keys, metadata, layers, spec)

    def part(self, keys: Collection[str], own: Sequence[str]) -> Mapping[str, str] | None:
        """IP-Adapters, which pipelines load beside a folder."""
        return ip_adapter.names(keys, own)


def _layout(config: Path, tensors: Mapping[str, Tensor]) -> Layout:
    """From the shapes; the number of heads and of groups, which leave no trace in shapes, from the configuration."""
    told = read_json(config)
    for key, allowed in EXPECTED.items():
        if key in told and told[key] not in allowed:
            raise CheckpointError(f"{config}: {key} is {told[key]!r}; this U-Net computes {' or '.join(map(repr, allowed))}")
    try:
        layout = layout_of({name: tuple(tensor.shape) for name, tensor in tensors.items()})
        heads = told.get("num_attention_heads") or told.get("attention_head_dim", 8)  # diffusers' name for the same number
        return replace(with_heads(layout, heads), groups=int(told.get("norm_num_groups") or 32))
    except ValueError as error:
        raise CheckpointError(f"{config}: {error}") from error


def _named(tensors: Mapping[str, Tensor], file: Path) -> dict[str, Tensor]:
    """The U-Net's tensors by our names. CheckpointError names those that we have no place for."""
    try:
        return {from_diffusers(name): tensor for name, tensor in tensors.items()}
    except UnknownName as error:
        raise CheckpointError(f"{file}: holds {error}, which no U-Net of Stable Diffusion has") from error


def _scheduler(source: Path) -> dict[str, Any]:
    path = source / "scheduler" / "scheduler_config.json"
    if not path.is_file():
        raise CheckpointError(f"{path}: missing; it says which noise the model was trained with")
    return read_json(path)


def _name(source: Path) -> str:
    stem = "".join(letter if letter.isalnum() or letter in "_-" else "_" for letter in source.resolve().name)
    return stem.strip("_-") or "stable_diffusion"


def _texts(source: Path, layout: Layout) -> list[dict[str, Any]]:
    """Options of the text encoders: SDXL reads the penultimate layers without their last norm, and one is projected."""
    if not layout.added:
        return [{"model": "here:text_encoder"}]
    index = source / "model_index.json"
    silent = not index.is_file() or read_json(index).get("force_zeros_for_empty_prompt", True)
    shared = {"layer": "penultimate", "norm": False, **({"null": "zeros"} if silent else {})}
    two = {"model": "here:text_encoder_2", **shared, "pooled": "projected"}
    if not (source / "text_encoder").is_dir():
        return [two]
    return [{"model": "here:text_encoder", **shared}, two]


def _beside(source: Path) -> dict[str, Callable[[], Files]]:
    found: dict[str, Callable[[], Files]] = {}
    for name in ("text_encoder", "text_encoder_2"):
        if (source / name).is_dir():
            found[name] = components.network(source / name, components.TEXT)
            found[components.tokenizer_beside(name)] = components.tokenizer(source / components.tokenizer_beside(name))
    if (source / "vae").is_dir():
        found["vae"] = components.network(source / "vae", components.VAE)
    return found


def _places(layout: Layout, count: int) -> list[str]:
    if not layout.added:
        return ["text_encoder"] if count == 1 else []
    return ["text_encoder_2"] if count == 1 else ["text_encoder", "text_encoder_2"]


def _silent(texts: Sequence[Mapping[str, Any]], layout: Layout) -> bool:
    """Is silence zeros? UsageError where a pipeline cannot be told what silence is."""
    nulls = {str(options.get("null", "empty")) for options in texts}
    if len(nulls) > 1 or (nulls == {"zeros"} and not layout.added):
        only = "its pipelines read the empty prompt" if not layout.added else "a pipeline has one of them for all its encoders"
        raise UsageError(f"`null` of clip is {' and '.join(sorted(nulls))}, but for {layout.family} {only}")
    return nulls == {"zeros"}


def _vae(model: Foreign) -> Files:
    autoencoder = model.spec.get("autoencoder")
    if not autoencoder or autoencoder["use"].rpartition("/")[2] != "kl":
        told = f"the autoencoder {autoencoder['use']!r}" if autoencoder else "no autoencoder"
        raise UsageError(f"this spec has {told}; Stable Diffusion's pipelines have `kl`")
    files = components.folder_of(model, str(autoencoder["model"]), components.VAE, "vae")
    config = files["config.json"]
    assert isinstance(config, bytes)
    if autoencoder.get("scale") is None:
        return files
    return {**files, "config.json": as_json({**json.loads(config), "scaling_factor": autoencoder["scale"]})}


def _text_encoder(model: Foreign, options: Mapping[str, Any], layout: Layout) -> tuple[Files, list[str]]:
    """A text encoder's files as a pipeline reads them: SD 1 and 2 take its last layer, SDXL its last but one."""
    files = components.folder_of(model, str(options["model"]), components.TEXT, "text_encoder")
    config, tensors = files["config.json"], plain(components.tensors_in(files, components.TEXT))
    assert isinstance(config, bytes)
    told = json.loads(config)
    notes: list[str] = []
    if not layout.added:
        if not options.get("norm", True):
            raise UsageError("the text is read without the last norm; the pipelines of SD 1 and 2 apply it")
        tensors = {name: tensor for name, tensor in tensors.items() if name != "text_projection.weight"}
        if options.get("layer", "last") == "penultimate":
            layers = int(told["num_hidden_layers"])
            tensors, told["num_hidden_layers"] = without_last_layer(tensors, layers), layers - 1
            notes.append(f"text_encoder: its layer {layers} is left out, for nobody reads it: this is how SD 2 is published")
        told["architectures"] = ["CLIPTextModel"]
    return {"config.json": as_json(told), f"{components.TEXT}.safetensors": tensors}, notes


@hookimpl
def cdkit_format() -> type[Diffusers]:
    return Diffusers
