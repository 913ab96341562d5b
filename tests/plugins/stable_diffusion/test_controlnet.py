"""A published ControlNet beside its U-Net: the same numbers in float64, and the same picture as diffusers' pipeline."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cdkit
import numpy as np
import pytest
import torch
from cdkit.build import assemble
from cdkit.diffusion.random import generator
from cdkit.engine.convert import Told, convert
from cdkit.errors import CheckpointError, UsageError
from cdkit.model import Model
from cdkit.parts import SampleShape, Site, Stream, Widths
from cdkit.spec import read_spec
from cdkit_encoders.map import Map
from cdkit_injectors.hint import Hint
from cdkit_stable_diffusion.controlnet import from_controlnet
from cdkit_stable_diffusion.unet_names import from_diffusers
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

diffusers = pytest.importorskip("diffusers")

SPEC = Path(__file__).parents[3] / "specs" / "controlnet_like.yaml"
UNET: dict[str, Any] = {
    "block_out_channels": (32, 64),
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    "attention_head_dim": 8,
    "cross_attention_dim": 24,
    "norm_num_groups": 8,
}
STRENGTH, SIDE = 0.7, 8
T = torch.tensor([981.0, 20.0])


def theirs_of(armed: Callable[..., Any]) -> tuple[nn.Module, nn.Module]:
    unet = diffusers.UNet2DConditionModel(**UNET, up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"), sample_size=SIDE)
    control = diffusers.ControlNetModel(**UNET, conditioning_embedding_out_channels=(16, 24))
    return armed(unet, 1).double(), armed(control, 2).double()


def ours_of(unet: nn.Module, control: nn.Module, folder: Path) -> Model:
    (folder / "config.json").write_text(json.dumps({"vocab_size": 8, "hidden_size": 24, "num_attention_heads": 1}))
    changes = [
        f"conditions.text.model={folder}",
        "sample={channels: 4, height: 8, width: 8}",
        "conditions.hint.scale=2",
        "injectors.1.channels=[16, 24]",
        "backbone={width: 32, mult: [1, 2], blocks: 2, attention: [0], heads: 8, groups: 8}",
        f"backbone.strength={STRENGTH}",
        "autoencoder=null",
    ]
    model = assemble(read_spec(SPEC, overrides=changes)).double().eval()
    named = {from_diffusers(key): value for key, value in unet.state_dict().items()}
    named |= {from_controlnet(key): value for key, value in control.state_dict().items()}
    model.backbone.load_state_dict(named)
    return model


def inputs() -> dict[str, Tensor]:
    draws = torch.Generator().manual_seed(1)
    shapes = {"x": (2, 4, SIDE, SIDE), "words": (2, 7, 24), "hint": (2, 3, 2 * SIDE, 2 * SIDE)}
    return {key: torch.randn(shape, generator=draws, dtype=torch.float64) for key, shape in shapes.items()}


def their_answer(unet: nn.Module, control: nn.Module) -> Tensor:
    given = inputs()
    told = {"encoder_hidden_states": given["words"]}
    down, mid = control(given["x"], T, **told, controlnet_cond=given["hint"], conditioning_scale=STRENGTH, return_dict=False)
    return unet(given["x"], T, **told, down_block_additional_residuals=down, mid_block_additional_residual=mid).sample


def our_answer(model: Model) -> Tensor:
    given = inputs()
    streams = {"text": Stream(tokens=given["words"]), "hint": Stream(spatial=F.pixel_unshuffle(given["hint"], 2))}
    return model.backbone(given["x"], T, model.prepare(streams))


def distance(ours: Tensor, theirs: Tensor) -> float:
    return float((ours - theirs).norm() / theirs.norm())


@torch.no_grad()
def test_float64_parity(armed_module: Callable[..., Any], tmp_path: Path) -> None:
    theirs = theirs_of(armed_module)
    assert distance(our_answer(ours_of(*theirs, tmp_path)), their_answer(*theirs)) <= 1e-12


def strength_forgotten(model: Any) -> None:
    model.backbone.strength = 1.0


def middle_left_out(model: Any) -> None:
    model.backbone.mid_zero = nn.Conv2d(64, 64, 1).double()
    nn.init.zeros_(model.backbone.mid_zero.weight)
    nn.init.zeros_(model.backbone.mid_zero.bias)


def skips_exchanged(model: Any) -> None:
    zero = model.backbone.zero
    zero[0], zero[1] = zero[1], zero[0]


def words_unheard_by_the_second_half(model: Any) -> None:
    for module in model.backbone.control.modules():
        if hasattr(module, "attn2"):
            nn.init.zeros_(module.attn2.to_out[0].weight)


def hint_unseen(model: Any) -> None:
    nn.init.zeros_(model.backbone.control.input_site.taps["hint"].conv_out.weight)


def the_halves_exchanged(model: Any) -> None:
    model.backbone.control.stem, model.backbone.stem = model.backbone.stem, model.backbone.control.stem


MUTANTS = [
    strength_forgotten,
    middle_left_out,
    skips_exchanged,
    words_unheard_by_the_second_half,
    hint_unseen,
    the_halves_exchanged,
]


@pytest.mark.parametrize("mutant", MUTANTS)
@torch.no_grad()
def test_mistakes_are_caught(mutant: Callable[[Any], None], armed_module: Callable[..., Any], tmp_path: Path) -> None:
    theirs = theirs_of(armed_module)
    ours = ours_of(*theirs, tmp_path)
    mutant(ours)
    assert distance(our_answer(ours), their_answer(*theirs)) > 1e-6


def test_published_size_and_where_it_gets_in() -> None:
    model = assemble(read_spec(SPEC), device="meta")
    own = {key: value for key, value in model.backbone.named_parameters() if key.startswith(("control.", "zero.", "mid_zero."))}
    assert sum(value.numel() for value in own.values()) == 361_279_120
    assert sum(value.numel() for value in model.backbone.parameters()) - 361_279_120 == 859_520_964


def test_a_new_one_is_its_unet_and_learns_beside_it() -> None:
    """At birth the second half equals the first and says nothing; locked, it alone learns."""
    small = "backbone={width: 16, mult: [1, 2], blocks: 1, attention: [1], heads: 2, locked: true}"
    changes = ["sample={channels: 4, height: 8, width: 8}", small, "conditions.text=null", "autoencoder=null"]
    hint = "injectors=[{use: hint, streams: [hint], sites: [control.input]}]"
    model = assemble(read_spec(SPEC, overrides=[*changes, hint]))
    backbone: Any = model.backbone
    state = backbone.state_dict()
    halves = [key for key in state if key.startswith("control.") and "taps" not in key]
    assert halves
    assert all(torch.equal(state[key], state[key.removeprefix("control.")]) for key in halves)
    learning = {key.split(".")[0] for key, value in backbone.named_parameters() if value.requires_grad}
    assert learning == {"control", "zero", "mid_zero"}


@pytest.fixture(scope="module")
def pipeline(sd1: Path, tmp_path_factory: pytest.TempPathFactory, armed_module: Callable[..., Any]) -> Path:
    base = diffusers.StableDiffusionPipeline.from_pretrained(sd1, local_files_only=True)
    copied = diffusers.ControlNetModel.from_unet(base.unet, conditioning_embedding_out_channels=(16, 32))
    control = armed_module(copied, 3)
    folder = tmp_path_factory.mktemp("controlled") / "tiny-controlnet"
    parts = {name: part for name, part in base.components.items() if name != "image_encoder"}
    diffusers.StableDiffusionControlNetPipeline(**parts, controlnet=control, requires_safety_checker=False).save_pretrained(
        folder
    )
    return folder


def test_the_same_picture_as_their_pipeline(pipeline: Path, tmp_path: Path) -> None:
    made = diffusers.StableDiffusionControlNetPipeline.from_pretrained(pipeline, local_files_only=True)
    made.set_progress_bar_config(disable=True)
    noise = torch.randn(4, 8, 8, generator=generator(5, "picture")).unsqueeze(0)
    edges = Image.fromarray((255 * (np.mgrid[0:16, 0:16].sum(0) % 5 == 0)).astype(np.uint8)).convert("RGB")
    told = {"prompt": "a cat", "negative_prompt": "dog", "num_inference_steps": 5, "guidance_scale": 7.5}
    theirs = 255 * made(**told, image=edges, latents=noise, output_type="np").images[0]
    convert(pipeline, tmp_path / "run", to=None, told=Told(), say=str)
    for source in (pipeline, tmp_path / "run"):
        model = cdkit.load(source, device="cpu")
        values = {"text": ["a cat"], "hint": [edges]}
        samples = model.sample(values, negative={"text": ["dog"]}, seed=5, steps=5, guidance=7.5)
        ours = 127.5 * (samples.images[0].permute(1, 2, 0).numpy() + 1)
        assert np.abs(ours - theirs).max() <= 2
    with pytest.raises(UsageError, match="no place for the injector 'hint'"):
        convert(tmp_path / "run", tmp_path / "back", to=None, told=Told(), say=str)


def test_another_kind_of_controlnet_is_refused(pipeline: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(pipeline, tmp_path / "odd")
    path = tmp_path / "odd" / "controlnet" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "controlnet_conditioning_channel_order": "bgr"}))
    with pytest.raises(CheckpointError, match="controlnet_conditioning_channel_order is 'bgr'; ours computes 'rgb'"):
        cdkit.load(tmp_path / "odd", device="cpu")


def test_a_hint_without_enough_rows_is_refused() -> None:
    reader = Map(sample=SampleShape(4, 8, 8), channels=3)
    with pytest.raises(ValueError, match=r"needs a multiple of 64 channels; stream 'edges' has 3: give its encoder `scale: 8`"):
        Hint(("edges",), (reader.widths,))
    tap = Hint(("edges",), (Widths(spatial=4),), channels=(8, 8)).tap(Site("input", "input", "map", 16, 1, 4))
    assert tap is not None
    with pytest.raises(ValueError, match="the hint is 8 x 8, but this picture needs one of 16 x 16"):
        tap(torch.zeros(1, 16, 8, 8), tap.prepare(Stream(spatial=torch.zeros(1, 4, 4, 4))), torch.zeros(1, 4))
