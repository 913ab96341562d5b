"""`unet` has Stable Diffusion's tensors, names its sites, and refuses what does not fit."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from cdkit.parts import Mount, SampleShape, Site
from cdkit_unet.unet import UNet
from torch import nn

PUBLISHED = json.loads((Path(__file__).parent / "published_shapes.json").read_text())
LATENT = SampleShape(4, 64, 64)
OPTIONS: dict[str, dict[str, Any]] = {
    "sd15": {"heads": 8},
    "sd21": {"head_dim": 64, "projection": "linear"},
    "sdxl": {"mult": (1, 2, 4), "attention": (1, 2), "depth": (0, 2, 10), "head_dim": 64, "projection": "linear"},
    "sdxl_refiner": {"width": 384, "attention": (1, 2), "depth": 4, "head_dim": 64, "projection": "linear"},
}
CONTEXT = {"sd15": (768, 0), "sd21": (1024, 0), "sdxl": (2048, 2816), "sdxl_refiner": (1280, 2560)}
PARAMETERS = {"sd15": 859_520_964, "sd21": 865_910_724, "sdxl": 2_567_463_684, "sdxl_refiner": 2_259_526_660}
SMALL: dict[str, Any] = {"width": 16, "mult": (1, 2), "blocks": 1, "attention": (1,), "heads": 2}


def crossed(width: int, context: int) -> nn.ModuleList:
    """norm2 and attn2 of Stable Diffusion: the tensors that a cross-attention tap adds at an `attend` site."""
    ins, bias = (width, context, context, width), (False, False, False, True)
    return nn.ModuleList([nn.LayerNorm(width), *[nn.Linear(i, width, bias=b) for i, b in zip(ins, bias, strict=True)]])


def stand_ins(context: int, added: int) -> Mount:
    def mount(site: Site) -> nn.Module:
        if site.kind == "attend":
            return crossed(site.width, context)
        if site.kind == "embed" and added:
            return nn.Sequential(nn.Linear(added, site.width), nn.SiLU(), nn.Linear(site.width, site.width))
        return nn.Identity()

    return mount


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_published_tensor_and_no_other(name: str) -> None:
    with torch.device("meta"):
        net = UNet(stand_ins(*CONTEXT[name]), LATENT, **OPTIONS[name])
    ours = Counter("x".join(map(str, parameter.shape)) for parameter in net.parameters())
    assert ours == Counter(PUBLISHED[name])
    assert sum(parameter.numel() for parameter in net.parameters()) == PARAMETERS[name]


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_heads_groups_and_epsilons(name: str) -> None:
    with torch.device("meta"):
        net = UNet(stand_ins(*CONTEXT[name]), LATENT, **OPTIONS[name])
    norms = {key: m for key, m in net.named_modules() if isinstance(m, nn.GroupNorm)}
    assert {norm.num_groups for norm in norms.values()} == {32}
    assert {norm.eps for key, norm in norms.items() if "attn" in key} == {1e-6}
    assert {norm.eps for key, norm in norms.items() if "attn" not in key} == {1e-5}
    heads = {m.to_q.in_features: m.heads for m in net.modules() if type(m).__name__ == "SelfAttention"}
    assert heads == ({320: 8, 640: 8, 1280: 8} if name == "sd15" else {width: width // 64 for width in heads})


def test_sites_of_a_small_network(recorder: Any) -> None:
    UNet(recorder, SampleShape(1, 8, 8), **SMALL)
    told = [(s.name, s.kind, s.width, s.stride) for s in recorder.sites]
    assert told == [
        ("embed", "embed", 64, 1),
        ("input", "input", 16, 1),
        ("down.0.res.0.norm1", "norm", 16, 1),
        ("down.0.res.0.norm2", "norm", 16, 1),
        ("down.0.res.0.branch", "branch", 16, 1),
        ("down.1.res.0.norm1", "norm", 16, 2),
        ("down.1.res.0.norm2", "norm", 32, 2),
        ("down.1.res.0.branch", "branch", 32, 2),
        ("down.1.attn.0.blocks.0.sequence", "sequence", 32, 2),
        ("down.1.attn.0.blocks.0.attend", "attend", 32, 2),
        ("mid.res.0.norm1", "norm", 32, 2),
        ("mid.res.0.norm2", "norm", 32, 2),
        ("mid.res.0.branch", "branch", 32, 2),
        ("mid.attn.0.blocks.0.sequence", "sequence", 32, 2),
        ("mid.attn.0.blocks.0.attend", "attend", 32, 2),
        ("mid.res.1.norm1", "norm", 32, 2),
        ("mid.res.1.norm2", "norm", 32, 2),
        ("mid.res.1.branch", "branch", 32, 2),
        ("skip.0", "skip", 16, 1),
        ("skip.1", "skip", 16, 1),
        ("skip.2", "skip", 16, 2),
        ("skip.3", "skip", 32, 2),
        ("skip.mid", "skip", 32, 2),
        ("up.0.res.0.norm1", "norm", 64, 2),
        ("up.0.res.0.norm2", "norm", 32, 2),
        ("up.0.res.0.branch", "branch", 32, 2),
        ("up.0.attn.0.blocks.0.sequence", "sequence", 32, 2),
        ("up.0.attn.0.blocks.0.attend", "attend", 32, 2),
        ("up.0.res.1.norm1", "norm", 48, 2),
        ("up.0.res.1.norm2", "norm", 32, 2),
        ("up.0.res.1.branch", "branch", 32, 2),
        ("up.0.attn.1.blocks.0.sequence", "sequence", 32, 2),
        ("up.0.attn.1.blocks.0.attend", "attend", 32, 2),
        ("up.1.res.0.norm1", "norm", 48, 1),
        ("up.1.res.0.norm2", "norm", 16, 1),
        ("up.1.res.0.branch", "branch", 16, 1),
        ("up.1.res.1.norm1", "norm", 32, 1),
        ("up.1.res.1.norm2", "norm", 16, 1),
        ("up.1.res.1.branch", "branch", 16, 1),
        ("out.norm", "norm", 16, 1),
    ]
    assert {s.embedding for s in recorder.sites} == {64}


@pytest.mark.parametrize("options", [SMALL, *OPTIONS.values(), {"width": 48, "mult": (1, 2, 3), "heads": 12}])
def test_narrow_has_the_same_sites(recorder: Any, options: dict[str, Any]) -> None:
    with torch.device("meta"):
        UNet(recorder, LATENT, **options)
    wide, recorder.sites = recorder.sites, []
    net = UNet(recorder, LATENT, **UNet.narrow(options))
    assert [(s.name, s.kind, s.layout, s.stride) for s in recorder.sites] == [(s.name, s.kind, s.layout, s.stride) for s in wide]
    assert sum(parameter.numel() for parameter in net.parameters()) < 30_000_000


def test_a_new_network_answers_zero(recorder: Any) -> None:
    torch.manual_seed(0)
    net = UNet(recorder, SampleShape(1, 8, 8), **SMALL)
    assert not net(torch.randn(2, 1, 8, 8), torch.tensor([3.0, 900.0]), {}).any()
    zero = {
        name.rsplit(".", 1)[0].split(".")[-1] for name, p in net.named_parameters() if name.endswith("weight") and not p.any()
    }
    assert zero == {"conv2", "proj_out", "out"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"heads": 5}, r"down\.1\.attn\.0\.blocks\.0: heads is 5, which does not divide the 32 channels there; .* are 4 and 8"),
        ({"heads": None, "head_dim": 48}, r"head_dim is 48, which does not divide the 32 channels there; .* are 32 and 32"),
        ({"head_dim": 8}, r"heads is 2 and head_dim is 8; expected one of the two"),
        ({"mult": ()}, r"mult is empty; expected one number a level"),
        ({"attention": (2,)}, r"attention names level 2, but mult has 2 levels, 0 to 1"),
        ({"depth": (1, 1, 1)}, r"depth lists 3 levels, \[1, 1, 1\], but mult has 2"),
        ({"depth": (1, 0)}, r"attention names level 1, where depth is 0"),
        ({"attention": (), "depth": (1, 0)}, r"depth ends in 0, \[1, 0\], but the middle takes its last number"),
    ],
)
def test_what_does_not_fit_is_refused(recorder: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        UNet(recorder, SampleShape(1, 8, 8), **{**SMALL, **options})


def test_a_picture_of_odd_size_is_refused_with_the_nearest_sizes(recorder: Any) -> None:
    net = UNet(recorder, SampleShape(1, 8, 8), **{**SMALL, "mult": (1, 2, 2), "attention": (2,)})
    assert net.multiple == 4
    message = r"30 x 3, but both sides must be multiples of 4; the nearest sizes are 28 or 32 for the height and 4 for the width"
    with pytest.raises(ValueError, match=message):
        net(torch.zeros(1, 1, 30, 3), torch.zeros(1), {})


def test_depth_goes_level_by_level_and_the_middle_takes_the_last(recorder: Any) -> None:
    UNet(recorder, SampleShape(1, 8, 8), **{**SMALL, "attention": (0, 1), "depth": (1, 3)})
    found = Counter(s.name.split(".attn")[0] for s in recorder.sites if s.kind == "attend")
    assert found == {"down.0": 1, "down.1": 3, "mid": 3, "up.0": 6, "up.1": 2}
