"""format `compvis`: one safetensors file with U-Net, autoencoder and text encoders, as CompVis and sgm write them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from cdkit.hooks import hookimpl
from cdkit.parts import CheckpointError, EnvironmentFault, Files, Foreign, Format, LoraNames, UsageError
from torch import Tensor

from cdkit_stable_diffusion import components, compvis_unet, compvis_vae, lora_names, stem
from cdkit_stable_diffusion.compvis_layout import compvis_layout
from cdkit_stable_diffusion.layout import Layout
from cdkit_stable_diffusion.openclip import UNREAD, from_openclip, to_openclip
from cdkit_stable_diffusion.prefixes import all_renamed, turned
from cdkit_stable_diffusion.specs import SIZES, layout_from, methods_of, spec_of
from cdkit_stable_diffusion.tensors import as_json, load, shapes
from cdkit_stable_diffusion.text import UNREAD as POSITIONS
from cdkit_stable_diffusion.text import config_of, plain
from cdkit_stable_diffusion.unet_names import PLAIN, from_diffusers, to_diffusers

UNET, AVERAGE, VAE = "model.diffusion_model.", "model_ema.", "first_stage_model."
# Tables of the process and counters, which every reader makes for itself.
TABLES = re.compile(r"betas|alphas_cumprod(_prev)?|sqrt_.*|log_one_minus_.*|posterior_.*|logvar|lvlb_weights|v_pred|ztsnr")
COUNTERS = (f"{AVERAGE}decay", f"{AVERAGE}num_updates")
TEXTS = {  # where a file keeps its text encoders: folder, prefix, and whose names they have
    "SD 1": [("text_encoder", "cond_stage_model.transformer.", "transformers")],
    "SD 2": [("text_encoder", "cond_stage_model.model.", "openclip")],
    "SDXL": [("text_encoder", "conditioner.embedders.0.transformer.", "transformers"),
             ("text_encoder_2", "conditioner.embedders.1.model.", "openclip")],
    "refiner": [("text_encoder_2", "conditioner.embedders.0.model.", "openclip")],
}  # fmt: skip
SCALES = {"SDXL": 0.13025, "refiner": 0.13025}  # of the latents; 0.18215 elsewhere


class Compvis(Format):
    """`v1-5-pruned.safetensors`, `sd_xl_base_1.0.safetensors` and their like. What is pickled is not read."""

    def recognises(self, source: Path) -> bool:
        return source.suffix == ".safetensors" and source.is_file() and any(name.startswith(UNET) for name in shapes(source))

    def read(
        self, source: Path, *, averaged: bool | None = None, prediction: str | None = None, tokenizer: Path | None = None
    ) -> Foreign:
        """CheckpointError for tensors that no part has a place for, UsageError where the file leaves open what is asked."""
        left = load(source)
        raw = _taken(left, UNET)
        average = _averages(raw, _taken(left, AVERAGE))
        weights, chosen, note = _chosen(raw, average, averaged, source)
        layout = _layout(raw, source)
        predicts = _prediction(layout, left, prediction, source)
        beside, texts = _beside(left, layout, tokenizer, source)
        _nothing_left(left, source)
        process = {"schedule": "scaled_linear", "prediction": predicts, "beta_start": 0.00085, "beta_end": 0.012}
        sampler = {"use": "ddim", "steps": 50, "spacing": "leading", "ends": "clean" if layout.added else "first"}
        side = 128 if layout.added else 96 if layout.context == 1024 and predicts == "v" else 64
        spec = spec_of(layout, name=_name(source), side=side, diffusion=process, sampler=sampler, texts=texts)
        named = _named(weights, layout, source)
        heads = f"{layout.heads} heads" if layout.heads else f"heads of {layout.head_dim} channels"
        notes = (f"architecture: {layout.family}; {heads}, which no shape tells", f"U-Net: {len(named)} tensors", note)
        tokens = () if tokenizer else ("tokenizer: none in such a file; give one with --tokenizer before you draw",)
        return Foreign(spec, stem.split(named, layout.out, PLAIN), chosen, beside, (*notes, *tokens))

    def write(self, model: Foreign, target: Path) -> Sequence[str]:
        """UsageError for a spec that is no Stable Diffusion."""
        from safetensors.torch import save_file

        methods = methods_of(model.spec)
        texts = [options for _, options in components.texts_of(model.spec)]
        context = next(tensor.shape[1] for name, tensor in model.weights.items() if name.endswith("attn2.to_k.weight"))
        layout = layout_from(model.spec, context)
        _check_told_by_shapes(layout)
        theirs = {to_diffusers(name, methods): tensor for name, tensor in stem.joined(model.weights, methods).items()}
        found, unknown = all_renamed(theirs, compvis_unet.names(layout))
        _refuse(unknown, target)
        tensors = {UNET + new: theirs[old] for old, new in found.items()}
        tensors |= _vae_written(model, target)
        places = TEXTS[_generation(layout)]
        if len(places) != len(texts):
            raise UsageError(f"{layout.family} has {len(places)} text encoders; this spec has {len(texts)}")
        for (_, prefix, naming), options in zip(places, texts, strict=True):
            tensors |= _text_written(model, options, prefix, naming, target)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, target, metadata={"format": "pt"})
        except OSError as error:
            raise EnvironmentFault(f"{target}: cannot be written: {error.strerror}") from error
        return [f"architecture: {layout.family}", f"U-Net: {len(found)} tensors under {UNET}", f"file: {len(tensors)} tensors"]

    def lora(
        self, keys: Collection[str], metadata: Mapping[str, str], layers: Collection[str], spec: Mapping[str, Any]
    ) -> LoraNames | None:
        """Kohya's names."""
        del metadata
        return lora_names.kohya(keys, layers, spec)


def _check_told_by_shapes(layout: Layout) -> None:
    """UsageError for what a file without a configuration cannot say, since readers take the published figures for granted."""
    heads = (layout.heads, layout.head_dim)
    published = (None, 64) if layout.linear else (8, None)
    if heads != published or layout.groups != 32:
        raise UsageError(
            f"a single file holds no configuration: whoever reads it takes {published[0] or 'one for every 64 channels'} heads "
            f"and 32 groups; this U-Net has heads {layout.heads}, head_dim {layout.head_dim} and {layout.groups} groups",
            hint="convert it to a diffusers folder, which says so",
        )


def _taken(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors under a prefix, without it; they are taken out of the dictionary."""
    names = [name for name in tensors if name.startswith(prefix)]
    return {name.removeprefix(prefix): tensors.pop(name) for name in names}


def _averages(raw: Mapping[str, Tensor], kept: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The moving average by the raw weights' names: it is kept under names whose dots are left out."""
    flat = {f"diffusion_model.{name}".replace(".", ""): name for name in raw}
    return {flat[name]: tensor for name, tensor in kept.items() if name in flat}


def _chosen(
    raw: Mapping[str, Tensor], average: Mapping[str, Tensor], wish: bool | None, source: Path
) -> tuple[Mapping[str, Tensor], bool | None, str]:
    """Which weights are taken, whether they are the average, and a note that says so."""
    if not average:
        if wish:
            raise UsageError(f"{source}: holds no averaged weights (EMA); leave --weights out, or ask for raw")
        return raw, None, "weights: one set; the file does not say whether they are averaged"
    missing = sorted(set(raw) - set(average))
    if missing:
        raise CheckpointError(f"{source}: its averaged weights lack {len(missing)} tensors, such as {missing[0]}")
    if wish is False:
        return raw, False, "weights: raw; the file holds averaged ones too (--weights ema)"
    return average, True, "weights: averaged (EMA); the file holds raw ones too (--weights raw)"


def _layout(raw: Mapping[str, Tensor], source: Path) -> Layout:
    try:
        return compvis_layout({name: tuple(tensor.shape) for name, tensor in raw.items()})
    except ValueError as error:
        raise CheckpointError(f"{source}: {error}") from error


def _generation(layout: Layout) -> str:
    """Which of the four families keeps its text encoders where."""
    if layout.added:
        return "refiner" if SIZES.get(layout.added) == 5 else "SDXL"
    return "SD 2" if layout.linear else "SD 1"


def _prediction(layout: Layout, tensors: Mapping[str, Tensor], told: str | None, source: Path) -> str:
    """What the network predicts. UsageError for SD 2, whose two kinds have the same shapes."""
    if told:
        return told
    if "v_pred" in tensors:
        return "v"
    if _generation(layout) == "SD 2":
        raise UsageError(
            f"{source}: is {layout.family}, which was published in two kinds that no shape tells apart",
            hint="--prediction epsilon for the 512-base model, --prediction v for the 768 one",
        )
    return "epsilon"


def _beside(
    left: dict[str, Tensor], layout: Layout, tokenizer: Path | None, source: Path
) -> tuple[dict[str, Callable[[], Files]], list[dict[str, Any]]]:
    """The autoencoder, the text encoders and the tokenizer as folders, and the text encoders' options in a spec."""
    generation = _generation(layout)
    beside: dict[str, Callable[[], Files]] = {"vae": _kept(_vae(_taken(left, VAE), SCALES.get(generation, 0.18215), source))}
    texts: list[dict[str, Any]] = []
    if tokenizer is not None:
        components.check_tokenizer(tokenizer)
    for folder, prefix, naming in TEXTS[generation]:
        tensors = _taken(left, prefix)
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
    _refuse([VAE + name for name in unknown], source)
    return {"config.json": as_json(config), f"{components.VAE}.safetensors": found}


def _text(tensors: Mapping[str, Tensor], naming: str, folder: str, source: Path) -> Files:
    if naming == "openclip":
        found, unknown = from_openclip(tensors)
        _refuse([name for name in unknown if name not in UNREAD], source)
    else:
        found = plain(tensors)
    projected = folder == "text_encoder_2"
    config = config_of(found, act="gelu" if naming == "openclip" else "quick_gelu", projected=projected)
    if not projected:
        found.pop("text_projection.weight", None)
    return {"config.json": as_json(config), f"{components.TEXT}.safetensors": found}


def _nothing_left(left: Mapping[str, Tensor], source: Path) -> None:
    """CheckpointError for tensors that belong to no part; tables and counters are no weights."""
    known = (name for name in left if TABLES.fullmatch(name) or name in COUNTERS or name.endswith(POSITIONS))
    _refuse(sorted(set(left) - set(known)), source)


def _named(weights: Mapping[str, Tensor], layout: Layout, source: Path) -> dict[str, Tensor]:
    found, unknown = all_renamed(weights, turned(compvis_unet.names(layout)))
    _refuse([UNET + name for name in unknown], source)
    return {from_diffusers(new): weights[old] for old, new in found.items()}


def _refuse(unknown: Sequence[str], source: Path) -> None:
    if unknown:
        shown = ", ".join(unknown[:3]) + (" …" if len(unknown) > 3 else "")
        raise CheckpointError(f"{source}: {len(unknown)} tensors belong to no part of Stable Diffusion: {shown}")


def _name(source: Path) -> str:
    return (
        "".join(letter if letter.isalnum() or letter in "_-" else "_" for letter in source.stem).strip("_-") or "stable_diffusion"
    )


def _vae_written(model: Foreign, target: Path) -> dict[str, Tensor]:
    autoencoder = model.spec.get("autoencoder") or {}
    if not autoencoder or autoencoder["use"].rpartition("/")[2] != "kl":
        raise UsageError("Stable Diffusion's files hold the autoencoder `kl`; this spec has another one, or none")
    files = components.folder_of(model, str(autoencoder["model"]), components.VAE, "vae")
    config = files["config.json"]
    assert isinstance(config, bytes)
    found, unknown = compvis_vae.to_compvis(components.tensors_in(files, components.VAE), json.loads(config))
    _refuse([f"vae: {name}" for name in unknown], target)
    return {VAE + name: tensor for name, tensor in found.items()}


def _text_written(model: Foreign, options: Mapping[str, Any], prefix: str, naming: str, target: Path) -> dict[str, Tensor]:
    files = components.folder_of(model, str(options["model"]), components.TEXT, "text_encoder")
    tensors = plain(components.tensors_in(files, components.TEXT))
    _check_text(files, tensors, naming)
    if naming == "openclip":
        tensors, unknown = to_openclip(tensors)
        _refuse([f"text_encoder: {name}" for name in unknown], target)
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


@hookimpl
def cdkit_format() -> type[Compvis]:
    return Compvis
