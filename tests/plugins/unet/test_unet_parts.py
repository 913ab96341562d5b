"""The U-Net's parts against textbook formulas written out here, in float64, and against their own gradients."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from cdkit.parts import Joined
from cdkit_unet.attention import SelfAttention
from cdkit_unet.common import Common
from cdkit_unet.feedforward import FeedForward
from cdkit_unet.heads import Heads
from cdkit_unet.moment import Moment
from cdkit_unet.norm import count_groups
from cdkit_unet.resample import Downsample, Upsample
from cdkit_unet.resnet import ResnetBlock
from cdkit_unet.time import sinusoids
from cdkit_unet.transformer import SpatialTransformer
from torch import Tensor, nn
from torch.autograd import gradcheck

Armed = Callable[..., Any]


def rand(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def silu(x: Tensor) -> Tensor:
    return x / (1 + (-x).exp())


def group_normed(x: Tensor, norm: nn.GroupNorm, eps: float) -> Tensor:
    """Each group of channels, less its mean, over its standard deviation; then the channel's own scale and shift."""
    rows = []
    for picture in x:
        groups = picture.chunk(norm.num_groups)
        rows.append(torch.cat([(g - g.mean()) / (g.var(unbiased=False) + eps).sqrt() for g in groups]))
    return torch.stack(rows) * norm.weight[:, None, None] + norm.bias[:, None, None]


def convolved(x: Tensor, conv: nn.Conv2d) -> Tensor:
    """A 3 x 3 convolution as nine shifted matrix products."""
    padded = torch.zeros(*x.shape[:2], x.shape[2] + 2, x.shape[3] + 2, dtype=x.dtype)
    padded[:, :, 1:-1, 1:-1] = x
    height, width = x.shape[2:]
    terms = [
        torch.einsum("oi,bihw->bohw", conv.weight[:, :, i, j], padded[:, :, i : i + height, j : j + width])
        for i in range(3)
        for j in range(3)
    ]
    return torch.stack(terms).sum(0) + conv.bias[:, None, None]


def test_resnet_block_is_the_published_formula(recorder: Any, armed: Armed) -> None:
    block = armed(ResnetBlock(Common(recorder, 6, groups=2), "res", 8, 12, 1))
    h, emb = rand(2, 8, 5, 3), rand(2, 6, seed=1)
    branch = convolved(silu(group_normed(h, block.norm1, 1e-5)), block.conv1)
    branch = branch + (silu(emb) @ block.time.weight.T + block.time.bias)[:, :, None, None]
    branch = convolved(silu(group_normed(branch, block.norm2, 1e-5)), block.conv2)
    shortcut = torch.einsum("oi,bihw->bohw", block.shortcut.weight[:, :, 0, 0], h) + block.shortcut.bias[:, None, None]
    torch.testing.assert_close(block(h, Moment(emb), {}), shortcut + branch, rtol=1e-12, atol=1e-12)


def test_self_attention_is_the_published_formula(armed: Armed) -> None:
    attention = armed(SelfAttention(6, heads=2))
    x = rand(1, 4, 6)
    answers = []
    for head in (slice(0, 3), slice(3, 6)):
        q, k, v = (x[0] @ layer.weight.T[:, head] for layer in (attention.to_q, attention.to_k, attention.to_v))
        weights = (q @ k.T / math.sqrt(3)).exp()
        answers.append(weights / weights.sum(1, keepdim=True) @ v)
    torch.testing.assert_close(attention(Joined(x), 4)[0], torch.cat(answers, dim=1), rtol=1e-12, atol=1e-12)


def test_joined_tokens_are_read_unless_masked(armed: Armed) -> None:
    attention, h, extra = armed(SelfAttention(6, heads=2)), rand(2, 4, 6), rand(2, 3, 6, seed=1)
    mask = torch.tensor([[1, 1, 1, 1, 0, 0, 0], [1, 1, 1, 1, 1, 0, 1]], dtype=torch.bool)
    alone, told = attention(Joined(h), 4), attention(Joined(torch.cat([h, extra], dim=1), mask), 4)
    assert told.shape == (2, 4, 6)
    torch.testing.assert_close(told[0], alone[0], rtol=1e-12, atol=1e-12)
    chosen = torch.cat([h[1], extra[1, [0, 2]]])[None]
    torch.testing.assert_close(told[1], attention(Joined(chosen), 4)[0], rtol=1e-12, atol=1e-12)
    assert not torch.allclose(told[1], alone[1])


def test_feed_forward_gates_the_values(armed: Armed) -> None:
    ff, h = armed(FeedForward(3)), rand(2, 4, 3)
    value, gate = (h @ ff.proj.weight.T + ff.proj.bias).split(12, dim=-1)
    gelu = gate * (1 + torch.erf(gate / math.sqrt(2))) / 2
    torch.testing.assert_close(ff(h), value * gelu, rtol=1e-12, atol=1e-12)


def test_sinusoids_by_hand() -> None:
    expected = [math.cos(7), math.cos(7 / 100), math.sin(7), math.sin(7 / 100)]
    torch.testing.assert_close(sinusoids(torch.tensor([7.0]), 4)[0], torch.tensor(expected))
    odd = sinusoids(torch.tensor([7.0, 8.0]), 5)
    assert odd.shape == (2, 5)
    assert not odd[:, 4].any()


def test_sinusoids_tell_neighbouring_times_apart_whatever_the_precision() -> None:
    late = torch.tensor([998.0, 999.0])
    assert torch.equal(sinusoids(late.double(), 64), sinusoids(late, 64))
    assert (sinusoids(late, 64)[0] - sinusoids(late, 64)[1]).abs().max() > 0.1


def test_conv_and_linear_projections_are_one_arithmetic(recorder: Any, armed: Armed) -> None:
    conv = armed(SpatialTransformer(Common(recorder, 6, groups=2), "a", 8, 1, depth=1))
    linear = armed(SpatialTransformer(Common(recorder, 6, groups=2, projection="linear"), "b", 8, 1, depth=1))
    linear.load_state_dict({key: value.squeeze() for key, value in conv.state_dict().items()})
    h, emb = rand(2, 8, 3, 5), rand(2, 6)
    assert conv.proj_in.weight.shape == (8, 8, 1, 1)
    assert torch.equal(conv(h, emb, {}), linear(h, emb, {}))
    by_conv = nn.functional.conv2d(h, conv.proj_in.weight, conv.proj_in.bias).flatten(2).mT
    torch.testing.assert_close(conv.proj_in(h.flatten(2).mT), by_conv, rtol=1e-12, atol=1e-12)


def test_upsample_repeats_every_pixel_and_downsample_takes_every_other(armed: Armed) -> None:
    up, down, h = armed(Upsample(3)), armed(Downsample(3)), rand(1, 3, 4, 6)
    repeated = h.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    torch.testing.assert_close(up(h), convolved(repeated, up.conv), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(down(h), convolved(h, down.conv)[:, :, ::2, ::2], rtol=1e-12, atol=1e-12)


def test_gradients_of_a_residual_block_and_a_transformer(recorder: Any, armed: Armed) -> None:
    common = Common(recorder, 4, groups=2)
    residual, transformer = armed(ResnetBlock(common, "r", 8, 8, 1)), armed(SpatialTransformer(common, "t", 8, 1, depth=1))
    inputs = rand(1, 8, 2, 2).requires_grad_(), rand(1, 4, seed=1).requires_grad_()
    assert gradcheck(lambda h, emb: residual(h, Moment(emb), {}), inputs, atol=1e-6)
    assert gradcheck(lambda h, emb: transformer(h, emb, {}), inputs, atol=1e-6)


@pytest.mark.parametrize("width", [320, 640, 960, 1280, 1920, 2560, 384, 768, 1536, 128])
def test_thirty_two_groups_at_every_published_width(width: int) -> None:
    assert count_groups(width) == 32


@pytest.mark.parametrize(("width", "groups"), [(1, 1), (3, 1), (8, 2), (16, 4), (48, 12), (64, 16), (97, 1), (144, 24)])
def test_groups_of_narrow_widths_divide_them(width: int, groups: int) -> None:
    assert count_groups(width) == groups
    assert width % groups == 0


@pytest.mark.parametrize(("width", "heads"), [(16, 1), (64, 1), (128, 2), (192, 3), (224, 2), (320, 5), (1280, 20)])
def test_heads_of_about_64_channels_where_nothing_is_said(width: int, heads: int) -> None:
    assert Heads().of(width, "here") == heads


def test_dropout_only_in_training(recorder: Any) -> None:
    torch.manual_seed(0)
    block = ResnetBlock(Common(recorder, 4, dropout=0.5), "r", 8, 8, 1)
    nn.init.normal_(block.conv2.weight)
    h, emb = torch.randn(1, 8, 4, 4), Moment(torch.randn(1, 4))
    assert not torch.equal(block(h, emb, {}), block(h, emb, {}))
    block.eval()
    assert torch.equal(block(h, emb, {}), block(h, emb, {}))
