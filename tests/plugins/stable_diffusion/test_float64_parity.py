"""A published layout, read as a spec and assembled out of our parts, computes in float64 what diffusers' U-Net computes.

Weights are armed (kernels by fan-in, gains near 1, biases away from 0), so that each of the mistakes below shows.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from cdkit.build import assemble
from cdkit.model import Model
from cdkit.parts import Stream
from cdkit.spec import read_spec
from cdkit_stable_diffusion import stem
from cdkit_stable_diffusion.layout import Layout, layout_of, with_heads
from cdkit_stable_diffusion.specs import spec_of
from cdkit_stable_diffusion.unet_names import PLAIN, from_diffusers
from torch import Tensor, nn
from torch.nn import functional as F

diffusers = pytest.importorskip("diffusers")

LONG, SIDE = 7, 8
T = torch.tensor([981.0, 20.0])
WIDE = {"sd1": [24], "sd2": [40], "sdxl": [12, 28], "refiner": [24], "inpainting": [24]}  # of the words, by text encoder
SAME: dict[str, Any] = {"out_channels": 4, "layers_per_block": 2, "norm_num_groups": 8, "sample_size": SIDE}
ADDED: dict[str, Any] = {"addition_embed_type": "text_time", "addition_time_embed_dim": 256, "use_linear_projection": True}
CONFIGS: dict[str, dict[str, Any]] = {
    "sd1": {
        "in_channels": 4,
        "block_out_channels": (32, 64, 64),
        "down_block_types": ("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        "attention_head_dim": 8,
    },
    "sd2": {
        "in_channels": 4,
        "block_out_channels": (32, 64, 64),
        "down_block_types": ("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        "attention_head_dim": (2, 4, 4),
        "use_linear_projection": True,
    },
    "sdxl": {
        "in_channels": 4,
        "block_out_channels": (32, 64, 128),
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        "transformer_layers_per_block": (1, 2, 3),
        "attention_head_dim": (2, 4, 8),
        **ADDED,
    },
    "refiner": {
        "in_channels": 4,
        "block_out_channels": (48, 96, 96),
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        "transformer_layers_per_block": 2,
        "attention_head_dim": (3, 6, 6),
        **ADDED,
    },
    "inpainting": {
        "in_channels": 9,
        "block_out_channels": (32, 64),
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
        "attention_head_dim": 8,
    },
}
NUMBERS = {"sdxl": 6, "refiner": 5}
POOLED = 1280


def theirs_of(name: str, armed: Callable[..., Any]) -> nn.Module:
    context = sum(WIDE[name])
    more = {"projection_class_embeddings_input_dim": POOLED + 256 * NUMBERS[name]} if name in NUMBERS else {}
    return armed(diffusers.UNet2DConditionModel(**SAME, **CONFIGS[name], **more, cross_attention_dim=context)).double()


def layout_for(name: str, theirs: nn.Module) -> Layout:
    layout = layout_of({key: tuple(value.shape) for key, value in theirs.state_dict().items()})
    heads = CONFIGS[name]["attention_head_dim"]
    return replace(with_heads(layout, heads if isinstance(heads, int) else list(heads)), groups=8)


def text_folder(path: Path, width: int) -> str:
    """A text encoder's configuration, which says how wide its words are; its weights are not asked for."""
    path.mkdir()
    sizes = {
        "hidden_size": width,
        "num_attention_heads": 1,
        "num_hidden_layers": 1,
        "intermediate_size": 8,
        "projection_dim": POOLED,
    }
    (path / "config.json").write_text(json.dumps({"vocab_size": 8, "max_position_embeddings": 77, **sizes}))
    return str(path)


def ours_of(name: str, theirs: nn.Module, folder: Path, **changed: Any) -> Model:
    """What `cdkit sample FOLDER` would assemble from such a checkpoint. changed: of the layout."""
    texts = [{"model": text_folder(folder / f"text{place}", width)} for place, width in enumerate(WIDE[name])]
    if name in NUMBERS:
        texts[-1]["pooled"] = "projected"
    layout = replace(layout_for(name, theirs), **changed)
    process = {"schedule": "scaled_linear", "prediction": "epsilon"}
    spec = spec_of(layout, name=name, side=SIDE, diffusion=process, sampler={"use": "ddim"}, texts=texts)
    del spec["autoencoder"]
    model = assemble(read_spec(json.dumps(spec, indent=1))).double().eval()
    named = {from_diffusers(key): value for key, value in theirs.state_dict().items()}
    model.backbone.load_state_dict(stem.split(named, layout.out, PLAIN))
    return model


def inputs(name: str) -> dict[str, Tensor]:
    draws = torch.Generator().manual_seed(1)
    shapes: dict[str, tuple[int, ...]] = {"x": (2, 4, SIDE, SIDE), "masked": (2, 5, SIDE, SIDE), "pooled": (2, POOLED)}
    shapes |= {f"words{place}": (2, LONG, width) for place, width in enumerate(WIDE[name])}
    given = {key: torch.randn(shape, generator=draws, dtype=torch.float64) for key, shape in shapes.items()}
    numbers = (1000 * torch.rand(2, NUMBERS.get(name, 1), generator=draws)).round().double()
    return {**given, "numbers": numbers}


def their_answer(name: str, theirs: nn.Module, given: dict[str, Tensor]) -> Tensor:
    words = torch.cat([given[key] for key in sorted(given) if key.startswith("words")], dim=-1)
    x = torch.cat([given["x"], given["masked"]], dim=1) if name == "inpainting" else given["x"]
    added = {"text_embeds": given["pooled"], "time_ids": given["numbers"]} if name in NUMBERS else None
    return theirs(x, T, encoder_hidden_states=words, added_cond_kwargs=added).sample


def our_answer(name: str, model: Model, given: dict[str, Tensor]) -> Tensor:
    """Streams as the encoders would deliver them; the numbers go through the encoder `size` itself."""
    mask = torch.arange(LONG).expand(2, LONG) < 4  # the rest is padding, to which Stable Diffusion attends
    words = [given[key] for key in sorted(given) if key.startswith("words")]
    names = [key for key, reader in model.readers.items() if type(reader.encoder).__name__ == "Clip"]
    streams = {key: Stream(tokens=tokens, mask=mask) for key, tokens in zip(names, words, strict=True)}
    if name in NUMBERS:
        streams[names[-1]] = replace(streams[names[-1]], pooled=given["pooled"])
        streams["sizes"] = model.encoders["sizes"](given["numbers"].tolist())
    if name == "inpainting":
        streams["masked"] = Stream(spatial=given["masked"])
    return model.backbone(given["x"], T, model.prepare(model.joined(streams)))


def distance(ours: Tensor, theirs: Tensor) -> float:
    return float((ours - theirs).norm() / theirs.norm())


@pytest.mark.parametrize("name", CONFIGS)
def test_float64_parity_and_gradients(name: str, armed_module: Callable[..., Any], tmp_path: Path) -> None:
    theirs = theirs_of(name, armed_module)
    ours = ours_of(name, theirs, tmp_path)
    answers, gradients = [], []
    for answer, network in ((their_answer, theirs), (our_answer, ours)):
        given = {key: value.requires_grad_(key != "numbers") for key, value in inputs(name).items()}
        out = answer(name, network, given)  # pyright: ignore[reportArgumentType]
        weight = (theirs.conv_in if network is theirs else ours.backbone.stem).weight
        asked = [given["x"], given["words0"], weight]
        gradients.append(torch.autograd.grad(out.square().sum(), asked))
        answers.append(out.detach())
    assert distance(answers[1], answers[0]) <= 1e-12
    for mine, their in zip(gradients[1], gradients[0], strict=True):
        assert distance(mine, their[:, : mine.shape[1]] if mine.shape != their.shape else their) <= 1e-12


def keys_for_values(model: Model, _: pytest.MonkeyPatch) -> None:
    for module in model.backbone.modules():
        if hasattr(module, "attn2"):
            module.attn2.to_k, module.attn2.to_v = module.attn2.to_v, module.attn2.to_k


def norms_exchanged(model: Model, _: pytest.MonkeyPatch) -> None:
    for module in model.backbone.modules():
        if hasattr(module, "norm3"):
            module.norm1, module.norm3 = module.norm3, module.norm1


def padding_masked(model: Model, _: pytest.MonkeyPatch) -> None:
    for module in model.backbone.modules():
        if hasattr(module, "attn2"):
            module.padding = "mask"


def cross_without_residual(_: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    from cdkit_injectors.cross_attention import CrossAttentionTap

    right = CrossAttentionTap.forward
    monkeypatch.setattr(CrossAttentionTap, "forward", lambda self, h, signal, emb: right(self, h, signal, emb) - h)


def cross_heads_halved(model: Model, _: pytest.MonkeyPatch) -> None:
    for module in model.backbone.modules():
        if hasattr(module, "attn2"):
            module.heads //= 2


def cross_without_norm(model: Model, _: pytest.MonkeyPatch) -> None:
    for module in model.backbone.modules():
        if hasattr(module, "attn2"):
            module.norm2 = nn.Identity()


def transformer_without_residual(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    transformer = next(m for m in model.backbone.modules() if type(m).__name__ == "SpatialTransformer")
    right = transformer.forward
    monkeypatch.setattr(transformer, "forward", lambda h, *rest: right(h, *rest) - h)


def time_without_silu(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    time = model.backbone.time
    monkeypatch.setattr(time, "forward", lambda t, dtype, right=time.forward: F.silu(right(t, dtype)))


def shortcut_left_out(model: Model, _: pytest.MonkeyPatch) -> None:
    block = next(m for m in model.backbone.modules() if isinstance(getattr(m, "shortcut", None), nn.Conv2d))
    with torch.no_grad():
        block.shortcut.weight.mul_(0)


def texts_joined_the_other_way(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    join = model.encoders["text"]
    monkeypatch.setattr(join, "forward", lambda one, other, right=join.forward: Stream(tokens=right(one, other).tokens.flip(-1)))


def sizes_before_the_text(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    join = model.encoders["added"]
    monkeypatch.setattr(join, "forward", lambda text, sizes, right=join.forward: right(sizes, text))


def numbers_with_sines_first(_: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    from cdkit_encoders import size

    right = size.sinusoids
    monkeypatch.setattr(size, "sinusoids", lambda numbers, dim: right(numbers, dim).roll(dim // 2, -1))


def added_without_silu(model: Model, _: pytest.MonkeyPatch) -> None:
    model.backbone.embed_site.taps["add"].project[1] = nn.Identity()


def mask_and_picture_exchanged(model: Model, _: pytest.MonkeyPatch) -> None:
    with torch.no_grad():
        kernel = model.backbone.input_site.taps["concat"].kernel.weight
        kernel.copy_(kernel.roll(1, dims=1).clone())


MUTANTS: list[tuple[str, Callable[[Model, pytest.MonkeyPatch], None]]] = [
    ("sd1", keys_for_values),
    ("sd1", norms_exchanged),
    ("sd1", padding_masked),
    ("sd1", cross_without_residual),
    ("sd1", cross_heads_halved),
    ("sd1", cross_without_norm),
    ("sd1", transformer_without_residual),
    ("sd1", time_without_silu),
    ("sd1", shortcut_left_out),
    ("sdxl", texts_joined_the_other_way),
    ("sdxl", sizes_before_the_text),
    ("sdxl", numbers_with_sines_first),
    ("refiner", added_without_silu),
    ("inpainting", mask_and_picture_exchanged),
]


@pytest.mark.parametrize(("name", "mutant"), MUTANTS, ids=[mutant.__name__ for _, mutant in MUTANTS])
def test_mistakes_are_caught(
    name: str,
    mutant: Callable[[Model, pytest.MonkeyPatch], None],
    armed_module: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    theirs = theirs_of(name, armed_module)
    ours = ours_of(name, theirs, tmp_path)
    mutant(ours, monkeypatch)
    with torch.no_grad():
        assert distance(our_answer(name, ours, inputs(name)), their_answer(name, theirs, inputs(name))) > 1e-6


@pytest.mark.parametrize("changed", [{"heads": 4}, {"heads": None, "head_dim": 16}, {"groups": 4}])
def test_a_layout_misread_is_caught(changed: dict[str, Any], armed_module: Callable[..., Any], tmp_path: Path) -> None:
    theirs = theirs_of("sd1", armed_module)
    ours = ours_of("sd1", theirs, tmp_path, **changed)
    with torch.no_grad():
        assert distance(our_answer("sd1", ours, inputs("sd1")), their_answer("sd1", theirs, inputs("sd1"))) > 1e-6


def test_raw_weights_for_averaged_ones_are_caught(armed_module: Callable[..., Any], tmp_path: Path) -> None:
    """A network a thousandth off, as an average is from what it averages, does not pass for the same."""
    theirs = theirs_of("sd1", armed_module)
    raw = copy.deepcopy(theirs)
    with torch.no_grad():
        for weight in raw.parameters():
            weight.mul_(1.001)
        ours = ours_of("sd1", raw, tmp_path)
        assert distance(our_answer("sd1", ours, inputs("sd1")), their_answer("sd1", theirs, inputs("sd1"))) > 1e-6
