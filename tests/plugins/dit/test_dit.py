"""`dit`: its blocks against the paper's formula, its start, its sites, and what it refuses."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from cdkit.parts import Joined, SampleShape, Site
from cdkit_dit.block import Block
from cdkit_dit.dit import DiT, cdkit_backbone
from cdkit_dit.positions import positions
from cdkit_dit.time import sinusoids
from torch import Tensor, nn
from torch.autograd import gradcheck
from torch.nn import functional as F

SAMPLE = SampleShape(2, 4, 6)
SMALL: dict[str, Any] = {"patch": 2, "width": 16, "depth": 2, "heads": 2}


class Noted(nn.Module):
    """A slot that notes what it was called with, and does what it is asked to."""

    def __init__(self, site: Site) -> None:
        super().__init__()
        self.site = site
        self.shapes: tuple[tuple[int, ...], ...] = ()
        self.change: Callable[[Tensor], Tensor] = lambda h: h
        self.extra: Joined | None = None

    def forward(self, h: Tensor, _signals: object, emb: Tensor) -> Tensor | Joined:
        self.shapes = (tuple(h.shape), tuple(emb.shape))
        h = self.change(h)
        if self.site.kind != "sequence":
            return h
        if self.extra is None:
            return Joined(h)
        own = torch.ones(h.shape[:2], dtype=torch.bool)
        return Joined(torch.cat([h, self.extra.tokens], dim=1), torch.cat([own, self.extra.mask], dim=1))


def rand(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def armed(module: nn.Module) -> Any:
    module = module.double().eval()
    for i, parameter in enumerate(module.parameters()):
        scale = 0.2 if parameter.dim() == 1 else 1.5 / parameter[0].numel() ** 0.5
        with torch.no_grad():
            parameter.copy_(rand(*parameter.shape, seed=i) * scale)
    return module


def made(**options: Any) -> tuple[Any, dict[str, Noted]]:
    slots: dict[str, Noted] = {}

    def mount(site: Site) -> Noted:
        assert site.name not in slots
        return slots.setdefault(site.name, Noted(site))

    torch.manual_seed(0)
    return DiT(mount, SAMPLE, **{**SMALL, **options}), slots


def picture(n: int = 2) -> tuple[Tensor, Tensor]:
    return rand(n, *SAMPLE), torch.linspace(0, 999, n, dtype=torch.float64)


def test_sites_of_a_small_network() -> None:
    net, slots = made()
    net(torch.zeros(3, *SAMPLE), torch.zeros(3), {})
    blocks = ["norm1", "sequence", "branch1", "attend", "norm2", "branch2"]
    assert list(slots) == ["embed", "input", *[f"blocks.{i}.{name}" for i in range(2) for name in blocks], "out.norm"]
    expected = {"vector": (3, 16), "map": (3, 16, 2, 3), "tokens": (3, 6, 16)}
    for slot in slots.values():
        assert slot.shapes == (expected[slot.site.layout], (3, 16))
        assert slot.site.stride == (1 if slot.site.kind == "embed" else 2)


def test_block_is_the_published_formula() -> None:
    block = armed(
        Block(lambda name, kind, layout: Noted(Site(name, kind, layout, 8, 1, 8)), "b", 8, embedding=8, heads=2, mlp_ratio=2.0)
    )
    h, emb = rand(1, 3, 8), rand(1, 8, seed=1)
    linear = block.modulation.linear
    shift1, scale1, gate1, shift2, scale2, gate2 = ((emb * torch.sigmoid(emb)) @ linear.weight.T + linear.bias).chunk(6, dim=1)
    x = normed(h) * (1 + scale1) + shift1
    q, k, v = (x @ w.T + b for w, b in zip(block.attn.qkv.weight.chunk(3), block.attn.qkv.bias.chunk(3), strict=True))
    heads = []
    for part in (slice(0, 4), slice(4, 8)):
        weights = (q[..., part] @ k[..., part].mT / 2).softmax(-1)
        heads.append(weights @ v[..., part])
    h1 = h + gate1 * (torch.cat(heads, dim=-1) @ block.attn.proj.weight.T + block.attn.proj.bias)
    x = (normed(h1) * (1 + scale2) + shift2) @ block.mlp[0].weight.T + block.mlp[0].bias
    x = 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    expected = h1 + gate2 * (x @ block.mlp[2].weight.T + block.mlp[2].bias)
    torch.testing.assert_close(block(h, emb, {}), expected, rtol=1e-12, atol=1e-12)


def normed(h: Tensor) -> Tensor:
    return (h - h.mean(-1, keepdim=True)) / (h.var(-1, unbiased=False, keepdim=True) + 1e-6).sqrt()


def angles(p: int) -> list[float]:
    return [math.sin(p), math.sin(p / 100), math.cos(p), math.cos(p / 100)]


def test_positions_tell_column_then_row() -> None:
    table = positions(2, 3, 8)[0]
    for row in range(2):
        for column in range(3):
            torch.testing.assert_close(table[:, row, column], torch.tensor(angles(column) + angles(row)))


def test_sinusoids_by_hand() -> None:
    told = sinusoids(torch.tensor([7.0]))
    torch.testing.assert_close(
        told[0, [0, 64, 128, 192]], torch.tensor([math.cos(7), math.cos(0.07), math.sin(7), math.sin(0.07)])
    )


def test_patches_come_back_where_they_were() -> None:
    """With a stem and a last layer that copy pixels, and blocks that add nothing, the network is the identity."""
    net, slots = made(width=8, heads=1, depth=1)
    net = net.double()
    with torch.no_grad():
        net.positions.zero_()
        net.stem.weight.copy_(torch.eye(8).view(2, 2, 2, 8).permute(3, 2, 0, 1))  # channel p q c of a token is pixel p, q of c
        net.stem.bias.zero_()
        net.out.weight.copy_(torch.eye(8))
        x = rand(2, *SAMPLE)
        tokens: list[Tensor] = []
        slots["out.norm"].change = lambda _: tokens[0]
        slots["blocks.0.attend"].change = lambda h: tokens.append(h) or h
        assert torch.equal(net(x, torch.zeros(2), {}), x)


def test_starts_as_published() -> None:
    net, _ = made()
    assert not net(torch.randn(2, *SAMPLE), torch.tensor([3.0, 900.0]), {}).any()
    zero = {name for name, p in net.named_parameters() if name.endswith("weight") and not p.any()}
    assert zero == {
        "blocks.0.modulation.linear.weight",
        "blocks.1.modulation.linear.weight",
        "modulation.linear.weight",
        "out.weight",
    }
    bound = math.sqrt(6 / (16 + 48))
    weight = net.blocks[0].attn.qkv.weight.detach()
    assert weight.abs().max() <= bound
    assert float(weight.std()) == pytest.approx(bound / math.sqrt(3), rel=0.1)


@torch.no_grad()
def test_every_site_reaches_the_output() -> None:
    net, slots = made()
    net, (x, t) = armed(net), picture()
    plain = net(x, t, {})
    for name, slot in slots.items():
        slot.change = lambda h: h * (1 + 0.1 * rand(*h.shape, seed=3))
        assert (net(x, t, {}) - plain).abs().max() > 1e-6 * plain.abs().max(), name
        slot.change = lambda h: h
    assert torch.equal(net(x, t, {}), plain)


@torch.no_grad()
def test_joined_tokens_are_read_unless_masked() -> None:
    net, slots = made()
    net, (x, t) = armed(net), picture()
    plain = net(x, t, {})
    for slot in slots.values():
        slot.extra = Joined(rand(2, 3, 16, seed=4), torch.tensor([[True, False, True], [False, False, False]]))
    told = net(x, t, {})
    torch.testing.assert_close(told[1], plain[1], rtol=1e-10, atol=1e-10)
    assert (told[0] - plain[0]).abs().max() > 1e-4


@torch.no_grad()
def test_time_matters_and_pictures_do_not_mix() -> None:
    net = armed(made()[0])
    x, t = picture(4)
    plain, order = net(x, t, {}), torch.tensor([2, 0, 3, 1])
    assert torch.equal(net(x[order], t[order], {}), plain[order])
    later = net(x, t + torch.tensor([0.0, 0.0, 0.0, 1.0]), {})
    torch.testing.assert_close(later[:3], plain[:3], rtol=1e-12, atol=1e-12)
    assert (later[3] - plain[3]).abs().max() > 1e-4 * plain.abs().max()


def test_every_weight_learns_once_armed() -> None:
    net = armed(made()[0])
    net(*picture(), {}).square().mean().backward()
    assert [name for name, p in net.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_gradients_of_a_block() -> None:
    block = armed(
        Block(lambda name, kind, layout: Noted(Site(name, kind, layout, 4, 1, 4)), "b", 4, embedding=4, heads=2, mlp_ratio=1.0)
    )
    inputs = rand(1, 2, 4).requires_grad_(), rand(1, 4, seed=1).requires_grad_()
    assert gradcheck(lambda h, emb: block(h, emb, {}), inputs, atol=1e-6)


@pytest.mark.parametrize(
    "options", [SMALL, {"heads": 6, "width": 384, "depth": 3}, {"heads": 3, "width": 96}, {"width": 8, "heads": 2}]
)
def test_narrow_has_the_same_sites(options: dict[str, Any]) -> None:
    wide, small = made(**options)[1], made(**DiT.narrow({**SMALL, **options}))
    assert [(s.site.kind, s.site.layout, s.site.stride) for s in small[1].values()] == [
        (s.site.kind, s.site.layout, s.site.stride) for s in wide.values()
    ]
    assert list(small[1]) == list(wide)
    assert sum(parameter.numel() for parameter in small[0].parameters()) < 1_000_000


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"heads": 3}, "heads is 3, which does not divide width 16; the nearest width is 18"),
        ({"width": 18, "heads": 2}, "width is 18, but positions need a multiple of 4; the nearest are 16 and 20"),
        ({"mlp_ratio": 0.01}, "mlp_ratio is 0.01, which leaves the feed-forward of width 16 no hidden channel"),
    ],
)
def test_what_does_not_fit_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        made(**options)


def test_another_size_is_refused() -> None:
    net = made()[0]
    assert net.multiple == 2
    with pytest.raises(ValueError, match="the picture is 4 x 4, but this transformer's positions are for 4 x 6"):
        net(torch.zeros(1, 2, 4, 4), torch.zeros(1), {})


@torch.no_grad()
def test_bfloat16_stays_bfloat16() -> None:
    net = armed(made()[0]).bfloat16()
    x, t = picture()
    assert net(x.bfloat16(), t, {}).dtype == torch.bfloat16
    assert cdkit_backbone() is DiT
    assert F.mse_loss(net.positions.float(), positions(2, 3, 16)) < 1e-4


def test_it_learns_to_draw_one_of_two_pictures() -> None:
    net, draws = made(width=32)[0], torch.Generator().manual_seed(0)
    pictures, optimizer = torch.randn((2, *SAMPLE), generator=draws), torch.optim.Adam(net.parameters(), lr=3e-3)
    losses: list[float] = []
    for _ in range(60):
        noise = torch.randn((16, *SAMPLE), generator=draws)
        clean = pictures[torch.randint(2, (16,), generator=draws)]
        loss = F.mse_loss(net(0.7 * clean + 0.7 * noise, torch.full((16,), 500.0), {}), clean)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]
