"""`unet` with a cross-attention at its `attend` sites computes what diffusers' UNet2DConditionModel computes, in float64.

Weights are armed, so that what is wrong shows: the mutants below are all caught by the same comparison.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from cdkit.parts import Joined, SampleShape, Site
from cdkit_unet import time, unet
from cdkit_unet.unet import UNet
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

diffusers = pytest.importorskip("diffusers")

CONTEXT, ADDED = 12, 16 + 6 * 8
SAME: dict[str, Any] = {"in_channels": 4, "out_channels": 4, "layers_per_block": 2, "norm_num_groups": 8, "sample_size": 16}
THEIRS: dict[str, dict[str, Any]] = {
    "sd1": {
        "block_out_channels": (32, 64),
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
        "attention_head_dim": 4,  # which is the number of heads
    },
    "sdxl": {
        "block_out_channels": (32, 64, 128),
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        "attention_head_dim": (2, 4, 8),
        "transformer_layers_per_block": (1, 1, 2),
        "use_linear_projection": True,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 8,
        "projection_class_embeddings_input_dim": ADDED,
    },
}
OURS: dict[str, dict[str, Any]] = {
    "sd1": {"mult": (1, 2), "attention": (0,), "heads": 4},
    "sdxl": {"mult": (1, 2, 4), "attention": (1, 2), "depth": (0, 1, 2), "head_dim": 16, "projection": "linear"},
}
KEYS = [  # ours -> theirs, in this order
    (r"^(down|up)\.(\d+)\.", r"\1_blocks.\2."),
    (r"^mid\.", "mid_block."),
    (r"\.res\.", ".resnets."),
    (r"(resnets\.\d+)\.time\.", r"\1.time_emb_proj."),
    (r"(resnets\.\d+)\.shortcut\.", r"\1.conv_shortcut."),
    (r"\.(down|up)sample\.", r".\1samplers."),
    (r"\.attn\.", ".attentions."),
    (r"\.blocks\.", ".transformer_blocks."),
    (r"\.attend\.", "."),
    (r"\.to_out\.", ".to_out.0."),
    (r"\.ff\.proj\.", ".ff.net.0.proj."),
    (r"\.ff\.out\.", ".ff.net.2."),
    (r"^time\.linear(\d)", r"time_embedding.linear_\1"),
    (r"^embed_site\.linear(\d)", r"add_embedding.linear_\1"),
    (r"^stem\.", "conv_in."),
    (r"^norm\.", "conv_norm_out."),
    (r"^out\.", "conv_out."),
]


class Cross(nn.Module):
    """Stable Diffusion's cross-attention, written out: no mask, all words attended to."""

    def __init__(self, site: Site, heads: int) -> None:
        super().__init__()
        self.name, self.norm2 = site.name, nn.LayerNorm(site.width)
        self.attn2 = nn.Module()
        self.attn2.heads = heads
        self.attn2.to_q = nn.Linear(site.width, site.width, bias=False)
        self.attn2.to_k = nn.Linear(CONTEXT, site.width, bias=False)
        self.attn2.to_v = nn.Linear(CONTEXT, site.width, bias=False)
        self.attn2.to_out = nn.Linear(site.width, site.width)

    def forward(self, h: Tensor, signals: Any, _emb: Tensor) -> Tensor:
        a, words = self.attn2, signals["words"]
        q, k, v = (rearrange(x, "b n (a d) -> b a n d", a=a.heads) for x in (a.to_q(self.norm2(h)), a.to_k(words), a.to_v(words)))
        weights = (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1)
        return h + a.to_out(rearrange(weights @ v, "b a n d -> b n (a d)"))


class Added(nn.Module):
    def __init__(self, site: Site) -> None:
        super().__init__()
        self.linear1, self.linear2 = nn.Linear(ADDED, site.width), nn.Linear(site.width, site.width)

    def forward(self, h: Tensor, signals: Any, _emb: Tensor) -> Tensor:
        return h + self.linear2(F.silu(self.linear1(signals["added"])))


class Sequence(nn.Module):
    def forward(self, h: Tensor, _signals: Any, _emb: Tensor) -> Joined:
        return Joined(h)


class Empty(nn.Module):
    def forward(self, h: Tensor, _signals: Any, _emb: Tensor) -> Tensor:
        return h


def mount_for(name: str) -> Callable[[Site], nn.Module]:
    def mount(site: Site) -> nn.Module:
        if site.kind == "attend":
            return Cross(site, 4 if name == "sd1" else site.width // 16)
        if site.kind == "embed" and name == "sdxl":
            return Added(site)
        return Sequence() if site.kind == "sequence" else Empty()

    return mount


def renamed(key: str) -> str:
    for ours, theirs in KEYS:
        key = re.sub(ours, theirs, key)
    return key


def pair(name: str, armed: Callable[..., nn.Module]) -> tuple[nn.Module, nn.Module]:
    """Ours and theirs, with the same armed weights; every tensor of theirs is taken."""
    theirs = diffusers.UNet2DConditionModel(**SAME, **THEIRS[name], cross_attention_dim=CONTEXT).double().eval()
    ours = armed(UNet(mount_for(name), SampleShape(4, 16, 16), width=32, groups=8, **OURS[name]))
    theirs.load_state_dict({renamed(key): value for key, value in ours.state_dict().items()}, strict=True)
    return ours, theirs


def inputs() -> dict[str, Tensor]:
    draws = torch.Generator().manual_seed(1)
    shapes = {"x": (2, 4, 16, 16), "words": (2, 7, CONTEXT), "pooled": (2, 16), "ids": (2, 6)}
    given = {name: torch.randn(shape, generator=draws, dtype=torch.float64) for name, shape in shapes.items()}
    return {**given, "ids": 500 * given["ids"].abs()}


def answer_of_theirs(theirs: nn.Module, t: Tensor) -> Tensor:
    given = inputs()
    added = {"text_embeds": given["pooled"], "time_ids": given["ids"]}
    with torch.no_grad():
        return theirs(given["x"], t, encoder_hidden_states=given["words"], added_cond_kwargs=added).sample


def answer_of_ours(ours: nn.Module, t: Tensor) -> Tensor:
    given = inputs()
    sizes = rearrange(time.sinusoids(given["ids"].flatten(), 8), "(b n) d -> b (n d)", n=6)
    signals = {"words": given["words"], "added": torch.cat([given["pooled"], sizes.double()], dim=1)}
    with torch.no_grad():
        return ours(given["x"], t, signals)


def distance(ours: nn.Module, theirs: nn.Module) -> float:
    t = torch.tensor([981.0, 20.0])
    expected = answer_of_theirs(theirs, t)
    return float((answer_of_ours(ours, t) - expected).norm() / expected.norm())


@pytest.mark.parametrize("name", OURS)
def test_float64_parity(name: str, armed: Callable[..., nn.Module]) -> None:
    assert distance(*pair(name, armed)) <= 1e-12


def wrong_heads(net: Any, _monkeypatch: pytest.MonkeyPatch) -> None:
    net.mid.attn[0].blocks[0].attn1.heads = 2


def wrong_eps_in_resnets(net: Any, _monkeypatch: pytest.MonkeyPatch) -> None:
    for block in net.down[0].res:
        block.norm1.eps = 1e-6


def wrong_eps_in_transformers(net: Any, _monkeypatch: pytest.MonkeyPatch) -> None:
    net.down[0].attn[0].norm.eps = 1e-5


def wrong_eps_in_layer_norms(net: Any, _monkeypatch: pytest.MonkeyPatch) -> None:
    net.mid.attn[0].blocks[0].norm1.eps = 1e-6


def wrong_groups(net: Any, _monkeypatch: pytest.MonkeyPatch) -> None:
    net.norm.num_groups = 4


def sine_first(_net: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    right = time.sinusoids
    monkeypatch.setattr(time, "sinusoids", lambda t, width: right(t, width).roll(width // 2, dims=1))


def shifted_frequencies(_net: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    right = time.sinusoids
    monkeypatch.setattr(time, "sinusoids", lambda t, width: right(t, width - 2) @ torch.eye(width - 2, width))


def gate_first(net: Any, _monkeypatch: pytest.MonkeyPatch) -> None:
    ff = net.mid.attn[0].blocks[0].ff
    with torch.no_grad():
        ff.proj.weight.copy_(ff.proj.weight.roll(len(ff.proj.weight) // 2, dims=0))
        ff.proj.bias.copy_(ff.proj.bias.roll(len(ff.proj.bias) // 2, dims=0))


def tanh_gelu(_net: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    right = F.gelu
    monkeypatch.setattr(F, "gelu", lambda x: right(x, approximate="tanh"))


def attends_before_self_attention(net: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    block = net.mid.attn[0].blocks[0]

    def swapped(h: Tensor, emb: Tensor, signals: Any) -> Tensor:
        h = block.attend(h, signals, emb)
        h = h + block.attn1.to_out(block.attn1(Joined(block.norm1(h)), h.shape[1]))
        return h + block.ff.out(block.ff(block.norm3(h)))

    monkeypatch.setattr(block, "forward", swapped)


def asymmetric_padding(net: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    conv = net.down[0].downsample[0].conv
    monkeypatch.setattr(
        net.down[0].downsample[0], "forward", lambda h: F.conv2d(F.pad(h, (0, 1, 0, 1)), conv.weight, conv.bias, 2)
    )


def one_skip_twice(net: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second where the first belongs; both are of the stem's size, and the deeper one is joined before."""
    seen: list[Tensor] = []
    monkeypatch.setattr(net.skip_sites[1], "forward", lambda h, *_: seen.append(h) or h)
    monkeypatch.setattr(net.skip_sites[0], "forward", lambda *_: seen.pop())


MUTANTS = [
    wrong_heads,
    wrong_eps_in_resnets,
    wrong_eps_in_transformers,
    wrong_eps_in_layer_norms,
    wrong_groups,
    sine_first,
    shifted_frequencies,
    gate_first,
    tanh_gelu,
    attends_before_self_attention,
    asymmetric_padding,
    one_skip_twice,
]


@pytest.mark.parametrize("mutant", MUTANTS)
def test_mutants_are_caught(
    mutant: Callable[..., None], armed: Callable[..., nn.Module], monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = pair("sd1", armed)
    expected = answer_of_theirs(theirs, t := torch.tensor([981.0, 20.0]))
    mutant(ours, monkeypatch)
    off = float((answer_of_ours(ours, t) - expected).norm() / expected.norm())
    assert off > 1e-9


def test_the_key_map_names_every_tensor_once() -> None:
    with torch.device("meta"):
        keys = [renamed(key) for key in UNet(mount_for("sdxl"), SampleShape(4, 16, 16), width=32, **OURS["sdxl"]).state_dict()]
    assert len(set(keys)) == len(keys)
    assert unet.cdkit_backbone() is UNet
