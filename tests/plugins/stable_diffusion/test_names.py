"""Every published tensor has a place among ours, with its shape, and comes back under its own name as the very same tensor."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from cdkit.build import assemble
from cdkit.spec import read_spec
from cdkit_stable_diffusion import compvis_unet, compvis_vae
from cdkit_stable_diffusion.compvis_layout import compvis_layout
from cdkit_stable_diffusion.layout import layout_of, with_heads
from cdkit_stable_diffusion.openclip import UNREAD, from_openclip, to_openclip
from cdkit_stable_diffusion.prefixes import all_renamed, turned
from cdkit_stable_diffusion.unet_names import UnknownName, from_diffusers, to_diffusers
from torch import Tensor

SPECS = Path(__file__).parents[3] / "specs"
PUBLISHED = Path(__file__).parent / "published"
SPEC_OF = {"sd15": "sd_like", "sd21": "sd2_like", "sdxl": "sdxl_like", "sdxl_refiner": "sdxl_refiner_like"}
COUNTS = {"sd15": 859_520_964, "sd21": 865_910_724, "sdxl": 2_567_463_684, "sdxl_refiner": 2_259_526_660}


def published(name: str) -> dict[str, tuple[int, ...]]:
    return {key: tuple(shape) for key, shape in json.loads((PUBLISHED / f"{name}.json").read_text()).items()}


def tensors(name: str) -> dict[str, Tensor]:
    """A tensor for each name, on the meta device: what comes back is compared by identity."""
    return {key: torch.empty(shape, device="meta") for key, shape in published(name).items()}


@pytest.mark.parametrize("name", SPEC_OF)
def test_the_spec_is_the_published_network_tensor_for_tensor(name: str) -> None:
    model = assemble(read_spec(SPECS / f"{SPEC_OF[name]}.yaml"), device="meta")
    ours = {key: tuple(value.shape) for key, value in model.backbone.state_dict().items()}
    assert {to_diffusers(key): shape for key, shape in ours.items()} == published(f"{name}_diffusers")
    assert sum(torch.Size(shape).numel() for shape in ours.values()) == COUNTS[name]


@pytest.mark.parametrize("name", SPEC_OF)
def test_round_trip_of_every_tensor(name: str) -> None:
    """CompVis -> diffusers -> ours -> diffusers -> CompVis."""
    theirs = tensors(f"{name}_diffusers")
    layout = layout_of({key: tuple(value.shape) for key, value in theirs.items()})
    table = compvis_unet.names(layout)
    to_compvis, unknown = all_renamed(theirs, table)
    assert not unknown
    compvis = {new: theirs[old] for old, new in to_compvis.items()}
    assert len(compvis) == len(theirs)
    assert compvis_layout({key: tuple(value.shape) for key, value in compvis.items()}) == layout
    back, unknown = all_renamed(compvis, turned(table))
    assert not unknown
    ours = {from_diffusers(new): compvis[old] for old, new in back.items()}
    assert len(ours) == len(theirs)
    again = {to_diffusers(key): value for key, value in ours.items()}
    final = {table_name: again[key] for key, table_name in all_renamed(again, table)[0].items()}
    assert final.keys() == compvis.keys()
    assert all(final[key] is compvis[key] for key in compvis)


def test_compvis_names_are_the_published_ones() -> None:
    theirs = published("sd15_diffusers")
    names, unknown = all_renamed(theirs, compvis_unet.names(layout_of(theirs)))
    assert not unknown
    assert {names[key]: shape for key, shape in theirs.items()} == published("sd15_compvis")


@pytest.mark.parametrize(
    ("name", "there"),
    [
        ("sd15", {"input_blocks.11.0", "output_blocks.2.1.conv", "output_blocks.5.2.conv", "output_blocks.8.2.conv"}),
        (
            "sdxl",
            {"input_blocks.6.0.op", "input_blocks.8.1", "output_blocks.2.2.conv", "output_blocks.5.2.conv", "label_emb.0.2"},
        ),
        ("sdxl_refiner", {"output_blocks.2.1.conv", "output_blocks.5.2.conv", "output_blocks.8.2.conv", "label_emb.0.0"}),
    ],
)
def test_where_upsamplers_stand_in_compvis_files(name: str, there: set[str]) -> None:
    theirs = published(f"{name}_diffusers")
    names = all_renamed(theirs, compvis_unet.names(layout_of(theirs)))[0].values()
    for prefix in there:
        assert any(key.startswith(f"{prefix}.") for key in names), prefix


def test_what_is_no_part_of_it_is_refused() -> None:
    for stranger in ("down_blocks.0.motion_modules.0.weight", "conv_in_2.weight", "class_embedding.weight"):
        with pytest.raises(UnknownName):
            from_diffusers(stranger)
    assert all_renamed(["conv_in_2.weight"], {"conv_in": "stem"})[1] == ["conv_in_2.weight"]


def test_layouts_are_told_from_shapes_alone() -> None:
    found = {name: layout_of(published(f"{name}_diffusers")) for name in SPEC_OF}
    assert {name: layout.family for name, layout in found.items()} == {
        "sd15": "SD 1.x",
        "sd21": "SD 2.x",
        "sdxl": "SDXL base",
        "sdxl_refiner": "SDXL refiner",
    }
    assert (found["sdxl"].depth, found["sdxl"].middle, found["sdxl"].attention) == ((0, 2, 10), 10, (1, 2))
    assert found["sdxl_refiner"].depth == (0, 4, 4, 0)
    with pytest.raises(ValueError, match=r"no U-Net of Stable Diffusion: 'conv_in.weight' is missing"):
        layout_of({"model.weight": (3, 3)})


def test_heads_that_are_neither_one_number_nor_one_width() -> None:
    layout = layout_of(published("sdxl_diffusers"))
    assert with_heads(layout, [5, 10, 20]).head_dim == 64
    assert with_heads(layout, 8).heads == 8
    with pytest.raises(ValueError, match=r"\[5, 5, 20\] heads at levels of \[320, 640, 1280\] channels"):
        with_heads(layout, [5, 5, 20])


def test_autoencoder_names_both_ways() -> None:
    """Against diffusers' own network at SD's depth: every tensor is named, attention becomes 1 x 1 convolutions and back."""
    diffusers = pytest.importorskip("diffusers")
    sizes = (32, 64, 64, 64)
    network = diffusers.AutoencoderKL(
        block_out_channels=sizes,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=2,
    )
    theirs = network.state_dict()
    compvis, unknown = compvis_vae.to_compvis(theirs, network.config)
    assert not unknown
    assert len(compvis) == len(theirs) == 244
    assert compvis["encoder.mid.attn_1.q.weight"].shape == (64, 64, 1, 1)
    assert {
        "decoder.up.3.upsample.conv.weight",
        "encoder.down.0.downsample.conv.weight",
        "encoder.down.1.block.0.nin_shortcut.bias",
    } <= set(compvis)
    config = compvis_vae.config_of({key: tuple(value.shape) for key, value in compvis.items()}, 0.18215)
    assert (config["block_out_channels"], config["layers_per_block"], config["latent_channels"]) == (list(sizes), 2, 4)
    back, unknown = compvis_vae.from_compvis(compvis, config)
    assert not unknown
    assert back.keys() == theirs.keys()
    assert all(torch.equal(back[key], theirs[key]) for key in theirs)


def test_openclip_names_both_ways() -> None:
    width, layers = 8, 2
    draws = torch.Generator().manual_seed(0)
    shapes: dict[str, tuple[int, ...]] = {
        "token_embedding.weight": (11, width),
        "positional_embedding": (7, width),
        "text_projection": (width, 5),
        "ln_final.weight": (width,),
        "ln_final.bias": (width,),
    }
    for layer in range(layers):
        at = f"transformer.resblocks.{layer}"
        shapes |= {f"{at}.{norm}.{kind}": (width,) for norm in ("ln_1", "ln_2") for kind in ("weight", "bias")}
        shapes |= {f"{at}.attn.in_proj_weight": (3 * width, width), f"{at}.attn.in_proj_bias": (3 * width,)}
        shapes |= {f"{at}.attn.out_proj.weight": (width, width), f"{at}.attn.out_proj.bias": (width,)}
        shapes |= {f"{at}.mlp.c_fc.weight": (4 * width, width), f"{at}.mlp.c_fc.bias": (4 * width,)}
        shapes |= {f"{at}.mlp.c_proj.weight": (width, 4 * width), f"{at}.mlp.c_proj.bias": (width,)}
    given = {name: torch.randn(shape, generator=draws) for name, shape in shapes.items()}
    found, unknown = from_openclip({**given, "logit_scale": torch.zeros(())})
    assert unknown == ["logit_scale"]
    assert set(unknown) <= UNREAD
    rows = given["transformer.resblocks.1.attn.in_proj_weight"]
    assert torch.equal(found["text_model.encoder.layers.1.self_attn.k_proj.weight"], rows[width : 2 * width])
    assert torch.equal(found["text_projection.weight"], given["text_projection"].T)
    back, unknown = to_openclip(found)
    assert not unknown
    assert back.keys() == given.keys()
    assert all(torch.equal(back[name], given[name]) for name in given)
