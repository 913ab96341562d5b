"""format `compvis`: one safetensors file with U-Net, autoencoder and text encoders, as CompVis and sgm write them."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from cdkit.hooks import hookimpl
from cdkit.parts import CheckpointError, EnvironmentFault, Foreign, Format, LoraNames, UsageError
from torch import Tensor

from cdkit_stable_diffusion import components, compvis_unet, lora_names, stem
from cdkit_stable_diffusion.compvis_layout import compvis_layout
from cdkit_stable_diffusion.layout import Layout
from cdkit_stable_diffusion.prefixes import all_renamed, turned
from cdkit_stable_diffusion.single_file_components import (
    TEXTS,
    components_in,
    generation_of,
    refuse,
    taken,
    text_written,
    vae_written,
)
from cdkit_stable_diffusion.specs import layout_from, methods_of, spec_of
from cdkit_stable_diffusion.tensors import load, shapes
from cdkit_stable_diffusion.text import UNREAD as POSITIONS
from cdkit_stable_diffusion.unet_names import PLAIN, from_diffusers, to_diffusers

UNET, AVERAGE = "model.diffusion_model.", "model_ema."
# Tables of the process and counters, which every reader makes for itself.
TABLES = re.compile(r"betas|alphas_cumprod(_prev)?|sqrt_.*|log_one_minus_.*|posterior_.*|logvar|lvlb_weights|v_pred|ztsnr")
COUNTERS = (f"{AVERAGE}decay", f"{AVERAGE}num_updates")


class Compvis(Format):
    """`v1-5-pruned.safetensors`, `sd_xl_base_1.0.safetensors` and their like. What is pickled is not read."""

    def recognises(self, source: Path) -> bool:
        return source.suffix == ".safetensors" and source.is_file() and any(name.startswith(UNET) for name in shapes(source))

    def read(
        self, source: Path, *, averaged: bool | None = None, prediction: str | None = None, tokenizer: Path | None = None
    ) -> Foreign:
        """CheckpointError for tensors that no part has a place for, UsageError where the file leaves open what is asked."""
        left = load(source)
        raw = taken(left, UNET)
        average = _averages(raw, taken(left, AVERAGE))
        weights, chosen, note = _chosen(raw, average, averaged, source)
        layout = _layout(raw, source)
        predicts = _prediction(layout, left, prediction, source)
        beside, texts = components_in(left, layout, tokenizer, source)
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
        refuse(unknown, target)
        tensors = {UNET + new: theirs[old] for old, new in found.items()}
        tensors |= vae_written(model, target)
        places = TEXTS[generation_of(layout)]
        if len(places) != len(texts):
            raise UsageError(f"{layout.family} has {len(places)} text encoders; this spec has {len(texts)}")
        for (_, prefix, naming), options in zip(places, texts, strict=True):
            tensors |= text_written(model, options, prefix, naming, target)
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


def _prediction(layout: Layout, tensors: Mapping[str, Tensor], told: str | None, source: Path) -> str:
    """What the network predicts. UsageError for SD 2, whose two kinds have the same shapes."""
    if told:
        return told
    if "v_pred" in tensors:
        return "v"
    if generation_of(layout) == "SD 2":
        raise UsageError(
            f"{source}: is {layout.family}, which was published in two kinds that no shape tells apart",
            hint="--prediction epsilon for the 512-base model, --prediction v for the 768 one",
        )
    return "epsilon"


def _nothing_left(left: Mapping[str, Tensor], source: Path) -> None:
    """CheckpointError for tensors that belong to no part; tables and counters are no weights."""
    known = (name for name in left if TABLES.fullmatch(name) or name in COUNTERS or name.endswith(POSITIONS))
    refuse(sorted(set(left) - set(known)), source)


def _named(weights: Mapping[str, Tensor], layout: Layout, source: Path) -> dict[str, Tensor]:
    found, unknown = all_renamed(weights, turned(compvis_unet.names(layout)))
    refuse([UNET + name for name in unknown], source)
    return {from_diffusers(new): weights[old] for old, new in found.items()}


def _name(source: Path) -> str:
    return (
        "".join(letter if letter.isalnum() or letter in "_-" else "_" for letter in source.stem).strip("_-") or "stable_diffusion"
    )


@hookimpl
def cdkit_format() -> type[Compvis]:
    return Compvis
