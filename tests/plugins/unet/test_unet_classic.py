"""`unet_classic` is the textbook's U-Net, part for part."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from cdkit.parts import SampleShape
from cdkit_unet.classic_attention import Attention
from cdkit_unet.classic_block import Block, ResnetBlock
from cdkit_unet.classic_time import SinusoidalPositionEmbeddings, TimeMlp
from cdkit_unet.common import Common
from cdkit_unet.padding import crop_to, pad_to
from cdkit_unet.unet_classic import UNetClassic, cdkit_backbone
from torch import Tensor, nn
from torch.nn import functional as F

Armed = Callable[..., Any]
CLOSE = {"rtol": 1e-12, "atol": 1e-12}


def rand(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def network(recorder: Any, **options: Any) -> Any:
    torch.manual_seed(0)
    return UNetClassic(recorder, SampleShape(1, 28, 28), **options)


def test_positions_by_hand() -> None:
    expected = [math.sin(7), math.sin(7 / 10_000), math.cos(7), math.cos(7 / 10_000)]
    torch.testing.assert_close(SinusoidalPositionEmbeddings(4)(torch.tensor([7.0]))[0], torch.tensor(expected))
    with pytest.raises(ValueError, match="width is 3, but the time's sinusoids need at least 4 channels"):
        SinusoidalPositionEmbeddings(3)


def test_time_mlp_is_linear_gelu_linear(armed: Armed) -> None:
    time = armed(TimeMlp(8, 12))
    assert [type(layer) for layer in time.mlp] == [nn.Linear, nn.GELU, nn.Linear]
    t = torch.tensor([3.0, 500.0])
    first = time.positions(t).double() @ time.mlp[0].weight.T + time.mlp[0].bias
    expected = first * (1 + torch.erf(first / math.sqrt(2))) / 2 @ time.mlp[2].weight.T + time.mlp[2].bias
    torch.testing.assert_close(time(t, torch.float64), expected, **CLOSE)


def test_block_is_convolution_normalisation_activation(recorder: Any, armed: Armed) -> None:
    block, h = armed(Block(Common(recorder, 4, groups=2), "b", 4, 8, 1)), rand(2, 4, 3, 5)
    conv = F.conv2d(h, block.proj.weight, block.proj.bias, padding=1)
    groups = conv.unflatten(1, (2, 4))
    mean, var = groups.mean((2, 3, 4), keepdim=True), groups.var((2, 3, 4), unbiased=False, keepdim=True)
    normed = ((groups - mean) / (var + 1e-5).sqrt()).flatten(1, 2) * block.norm.weight[:, None, None] + block.norm.bias[
        :, None, None
    ]
    torch.testing.assert_close(block(h, rand(2, 4), {}), normed * torch.sigmoid(normed), **CLOSE)


def test_resnet_block_adds_the_time_between_its_blocks(recorder: Any, armed: Armed) -> None:
    block = armed(ResnetBlock(Common(recorder, 6, groups=2), "r", 4, 8, 1))
    h, emb = rand(2, 4, 3, 5), rand(2, 6, seed=1)
    assert [type(layer) for layer in block.mlp] == [nn.SiLU, nn.Linear]
    time = (emb * torch.sigmoid(emb)) @ block.mlp[1].weight.T + block.mlp[1].bias
    branch = block.block2(block.block1(h, emb, {}) + time[:, :, None, None], emb, {})
    expected = branch + torch.einsum("oi,bihw->bohw", block.res_conv.weight[:, :, 0, 0], h) + block.res_conv.bias[:, None, None]
    torch.testing.assert_close(block(h, emb, {}), expected, **CLOSE)
    assert isinstance(ResnetBlock(Common(recorder, 6), "s", 8, 8, 1).res_conv, nn.Identity)


def test_attention_by_hand(recorder: Any, armed: Armed) -> None:
    attention = armed(Attention(Common(recorder, 4), "a", 6, 1, heads=2, head_dim=3))
    assert attention.to_qkv.bias is None
    assert attention.to_qkv.weight.shape == (18, 6, 1, 1)
    h = rand(1, 6, 2, 3)
    q, k, v = torch.einsum("oi,bihw->bohw", attention.to_qkv.weight[:, :, 0, 0], h)[0].flatten(1).view(3, 2, 3, 6).unbind()
    answers = []
    for head in range(2):
        similarity = q[head].T @ k[head] / math.sqrt(3)
        answers.append(v[head] @ similarity.softmax(dim=-1).T)
    expected = attention.to_out.weight[:, :, 0, 0] @ torch.cat(answers) + attention.to_out.bias[:, None]
    torch.testing.assert_close(attention(h, rand(1, 4), {})[0].flatten(1), expected, **CLOSE)


def test_levels_have_the_parts_that_the_text_lists(recorder: Any) -> None:
    net = network(recorder)
    for level in net.down:
        assert (type(level.block1), type(level.block2), type(level.attention)) == (ResnetBlock, ResnetBlock, Attention)
        assert level.norm.num_groups == 1
    downs = [conv for level in net.down for conv in level.downsample]
    ups = [conv for level in net.up for conv in level.upsample]
    assert [isinstance(conv, nn.Conv2d) for conv in downs] == [True] * 2
    assert [isinstance(conv, nn.ConvTranspose2d) for conv in ups] == [True] * 2
    for conv in (*downs, *ups):
        assert (conv.kernel_size, conv.stride, conv.padding) == ((4, 4), (2, 2), (1, 1))
        assert conv.in_channels == conv.out_channels
    assert all(len(level.attention) == 0 for level in net.up)
    assert all(len(level.attention) == 1 for level in network(recorder, up_attention=True).up)


def test_an_attend_site_in_every_down_middle_and_up_block(recorder: Any) -> None:
    network(recorder)
    assert [(s.name, s.width, s.stride) for s in recorder.sites if s.kind == "attend"] == [
        ("down.0.attend", 32, 1),
        ("down.1.attend", 64, 2),
        ("down.2.attend", 128, 4),
        ("mid.attend", 128, 4),
        ("up.0.attend", 64, 4),
        ("up.1.attend", 32, 2),
        ("up.2.attend", 32, 1),
    ]
    assert [s.name for s in recorder.sites if s.kind == "sequence"] == [
        "down.0.sequence",
        "down.1.sequence",
        "down.2.sequence",
        "mid.sequence",
    ]
    assert (
        len([s for s in recorder.sites if s.kind == "norm"]) == 2 * len([s for s in recorder.sites if s.kind == "branch"]) == 30
    )


def test_28_by_28_is_padded_to_32_by_32_inside(recorder: Any) -> None:
    net = network(recorder)
    assert net(torch.randn(1, 1, 28, 28), torch.zeros(1), {}).shape == (1, 1, 28, 28)
    shapes = {site.name: recorder.called[site.name][0] for site in recorder.sites}
    assert shapes["input"] == (1, 32, 28, 28)
    assert shapes["down.0.block1.norm1"] == (1, 32, 32, 32)
    assert shapes["mid.attend"] == (1, 64, 128)
    assert net.multiple == 1
    assert {site.padded for site in recorder.sites if site.name not in ("embed", "input")} == {8}
    assert {site.padded for site in recorder.sites if site.name in ("embed", "input")} == {1}


def test_no_level_at_all_is_refused(recorder: Any) -> None:
    with pytest.raises(ValueError, match="mult is empty; expected one number a level"):
        network(recorder, mult=())


@pytest.mark.parametrize("size", [(28, 28), (7, 9), (1, 32), (8, 8)])
def test_cropping_undoes_padding(size: tuple[int, int]) -> None:
    x = rand(1, 2, *size)
    padded = pad_to(x, 8)
    assert all(side % 8 == 0 and side - own < 8 for side, own in zip(padded.shape[2:], size, strict=True))
    assert torch.equal(crop_to(padded, x), x)
    assert padded.abs().sum() == x.abs().sum()


def test_narrow_has_the_same_sites(recorder: Any) -> None:
    options = {"width": 64, "mult": (1, 2, 4), "heads": 8, "up_attention": True}
    network(recorder, **options)
    wide, recorder.sites = recorder.sites, []
    net = network(recorder, **UNetClassic.narrow(options))
    assert [(s.name, s.kind, s.layout, s.stride) for s in recorder.sites] == [(s.name, s.kind, s.layout, s.stride) for s in wide]
    assert sum(parameter.numel() for parameter in net.parameters()) < 1_000_000
    assert cdkit_backbone() is UNetClassic
