"""On a GPU: products that are gated or added to, attention over few words and the stem, against float64, in bfloat16."""

from __future__ import annotations

import pytest
import torch
from cdkit.kernels import (
    attention,
    fast,
    gated_product,
    gates,
    stem,
    summed_product,
    sums,
)
from cdkit.kernels.words import attended, attends
from torch import Tensor, nn
from torch.nn import functional as F

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

SHAPES = [(65536, 320, 320), (8192, 320, 1280), (512, 1280, 1280), (128, 1280, 5120), (1000, 72, 176), (1, 8, 512)]
ROUNDED = 2.5e-3  # what rounding an answer to bfloat16 leaves is 1.7e-3


@pytest.fixture(autouse=True)
def drawing() -> None:
    torch.manual_seed(0)
    if torch.cuda.get_device_capability() != (9, 0):
        pytest.skip("the products' kernels are of the Hopper family")


def rand(*shape: int) -> Tensor:
    return torch.randn(*shape, device="cuda").bfloat16()


def apart(found: Tensor, wanted: Tensor) -> float:
    return float((found.double() - wanted).norm() / wanted.norm())


@pytest.mark.parametrize(("rows", "inner", "wide"), SHAPES)
def test_a_gated_product_is_its_mathematics(rows: int, inner: int, wide: int) -> None:
    x, weight, bias = rand(rows, inner), rand(2 * wide, inner) * inner**-0.5, rand(2 * wide)
    with torch.no_grad(), fast():
        assert gates(x, weight, bias)
        found = gated_product(x, weight, bias)
    part = slice(-700, None)
    value, gate = (x[part].double() @ weight.double().T + bias.double()).chunk(2, -1)
    assert found.shape == (rows, wide)
    assert apart(found[part], value * F.gelu(gate)) < ROUNDED


@pytest.mark.parametrize(("rows", "inner", "wide"), SHAPES)
def test_a_summed_product_is_its_mathematics(rows: int, inner: int, wide: int) -> None:
    x, weight, bias, more = rand(rows, inner), rand(wide, inner) * inner**-0.5, rand(wide), rand(rows, wide)
    with torch.no_grad(), fast():
        assert sums(weight, bias, more, fewest=1, deepest=2048)
        found = summed_product(x, weight, bias, more)
    part = slice(-700, None)
    assert apart(found[part], more[part].double() + x[part].double() @ weight.double().T + bias.double()) < ROUNDED


def test_gates_far_out_are_gelu_too() -> None:
    """Where gelu is a small part of a number, by that part."""
    gate = torch.linspace(-9, 9, 4096, device="cuda").bfloat16()
    weight, bias = torch.zeros(32, 64, device="cuda").bfloat16(), torch.zeros(32, device="cuda").bfloat16()
    x = F.pad(torch.stack([torch.ones_like(gate), gate], 1), (0, 62))
    weight[:16, 0], weight[16:, 1] = 1, 1  # every value is 1, every gate as it is
    with torch.no_grad(), fast():
        found = gated_product(x, weight, bias)[:, 0].double()
    wanted = F.gelu(gate.double())
    far = wanted.abs() > 1e-7
    assert float(((found - wanted).abs() / wanted.abs())[far].max()) < 2**-8 + 7.5e-4
    assert float((found - wanted).abs()[~far].max()) < 2e-7


@pytest.mark.parametrize(
    ("words", "width", "queries"), [(77, 40, 4096), (77, 80, 1024), (1, 64, 100), (128, 128, 300), (20, 40, 5000)]
)
def test_attention_over_few_words_is_its_mathematics(words: int, width: int, queries: int) -> None:
    q, both = rand(3, queries, 8 * width), rand(3, words, 16 * width)
    k, v = both.chunk(2, -1)
    with torch.no_grad(), fast():
        assert attends(q, k, v, 8) is (width <= 64)
        found = attended(q, k, v, 8)
    parts = [each.double().unflatten(-1, (8, width)).transpose(1, 2) for each in (q, k, v)]
    assert apart(found, F.scaled_dot_product_attention(*parts).transpose(1, 2).flatten(2)) < 2 * ROUNDED


@pytest.mark.parametrize("channels", [1, 3, 4, 9, 14])
def test_a_stem_is_its_convolution(channels: int) -> None:
    conv = nn.Conv2d(channels, 320, 3, padding=1).cuda().bfloat16().to(memory_format=torch.channels_last)
    x = rand(3, channels, 40, 56).to(memory_format=torch.channels_last)
    with torch.no_grad(), fast():
        found = stem(conv, x)
    assert apart(found, conv.double()(x.double()).detach()) < ROUNDED


def answered(together: Tensor, heads: int) -> Tensor:
    q, k, v = (each.double().unflatten(-1, (heads, 40)).transpose(1, 2) for each in together.chunk(3, -1))
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


@pytest.mark.parametrize(("samples", "rows", "heads"), [(2, 4096, 8), (3, 256, 8), (1, 1024, 3)])
@pytest.mark.parametrize("louder", [1, 6])
def test_self_attention_is_its_mathematics(samples: int, rows: int, heads: int, louder: float) -> None:
    """Six times as loud: scores so large that rows are done again."""
    together = rand(samples, rows, 3 * heads * 40) * louder
    with torch.no_grad(), fast():
        found = attention(*together.chunk(3, -1), None, heads=heads)
    assert apart(found, answered(together, heads)) < 2 * ROUNDED


def test_one_key_far_beyond_the_others_is_met_wherever_it_stands() -> None:
    together = rand(3, 1024, 960)
    together[1, 1000, 320:640] *= 60
    with torch.no_grad(), fast():
        found = attention(*together.chunk(3, -1), None, heads=8)
    wanted = answered(together, 8)
    assert max(apart(found[i], wanted[i]) for i in range(3)) < 2 * ROUNDED
