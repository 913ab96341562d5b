"""`mmdit`: its sites, its second stream and what becomes of it, its start, and what it refuses."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from cdkit.parts import Joined, SampleShape, Site
from cdkit.testing import check_backbone
from cdkit_dit.dit import DiT
from cdkit_dit.mmdit import MMDiT, cdkit_backbone
from torch import Tensor, nn
from torch.nn import functional as F

SAMPLE = SampleShape(2, 4, 6)
SMALL: dict[str, Any] = {"patch": 2, "width": 16, "depth": 2, "heads": 2}
ATTENTION = ("to_q", "to_k", "to_v", "to_out", "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out")
UNASKED = {"add_q_proj", "to_add_out"}


class Told(nn.Module):
    """A slot that joins words at a `sequence` site, if there are any."""

    def __init__(self, site: Site) -> None:
        super().__init__()
        self.site = site
        self.words: Tensor | None = None
        self.mask: Tensor | None = None

    def forward(self, h: Tensor, _signals: object, _emb: Tensor) -> Tensor | Joined:
        if self.site.kind != "sequence":
            return h
        if self.words is None:
            return Joined(h)
        if self.mask is None:
            return Joined(torch.cat([h, self.words], dim=1))
        own = torch.ones(h.shape[:2], dtype=torch.bool)
        return Joined(torch.cat([h, self.words], dim=1), torch.cat([own, self.mask], dim=1))


def rand(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@torch.no_grad()
def armed(module: nn.Module) -> Any:
    module = module.double().eval()
    for i, parameter in enumerate(module.parameters()):
        parameter.copy_(rand(*parameter.shape, seed=i) * (0.2 if parameter.dim() == 1 else 1.5 / parameter[0].numel() ** 0.5))
    return module


def made(kind: type[Any] = MMDiT, **options: Any) -> tuple[Any, dict[str, Told]]:
    slots: dict[str, Told] = {}

    def mount(site: Site) -> Told:
        assert site.name not in slots
        return slots.setdefault(site.name, Told(site))

    torch.manual_seed(0)
    return kind(mount, SAMPLE, **{**SMALL, **options}), slots


def picture(n: int = 2) -> tuple[Tensor, Tensor]:
    return rand(n, *SAMPLE), torch.linspace(0, 999, n, dtype=torch.float64)


@pytest.mark.slow
@pytest.mark.parametrize("qk_norm", [False, True])
@pytest.mark.parametrize("depth", [1, 3])
def test_it_keeps_the_promises_of_a_backbone(depth: int, qk_norm: bool) -> None:
    check_backbone(partial(MMDiT, width=16, depth=depth, heads=2, qk_norm=qk_norm), sample=SAMPLE)


def test_sites_of_a_small_network() -> None:
    slots = made()[1]
    blocks = ["norm1", "branch1", "attend", "norm2", "branch2"]
    expected = ["embed", "input", *[f"blocks.{i}.{name}" for i in range(2) for name in blocks], "out.norm", "sequence"]
    assert list(slots) == expected
    assert slots["sequence"].site == Site("sequence", "sequence", "tokens", 16, 2, 16)


@torch.no_grad()
def test_with_no_words_it_is_a_dit_of_the_pictures_weights() -> None:
    net, plain = armed(made()[0]), made(DiT)[0].double()
    weights = dict(net.state_dict())
    for i in range(2):
        attention, stream = f"blocks.{i}.attn", f"blocks.{i}.picture"
        for leaf in ("weight", "bias"):
            weights[f"{attention}.qkv.{leaf}"] = torch.cat([weights[f"{attention}.to_{x}.{leaf}"] for x in "qkv"])
            weights[f"{attention}.proj.{leaf}"] = weights[f"{attention}.to_out.{leaf}"]
            for layer in ("modulation.linear", "mlp.0", "mlp.2"):
                weights[f"blocks.{i}.{layer}.{leaf}"] = weights[f"{stream}.{layer}.{leaf}"]
    plain.load_state_dict({name: weights[name] for name in plain.state_dict()})
    x, t = picture()
    told = net(x, t, {})
    assert told.std() > 0.1
    torch.testing.assert_close(told, plain(x, t, {}), rtol=0, atol=1e-12)


@pytest.mark.parametrize("qk_norm", [False, True])
@torch.no_grad()
def test_padding_changes_nothing_and_silence_is_emptiness(qk_norm: bool) -> None:
    """A sample's masked words, of any size, are as none; and a sample of which all are masked is as one that was told nothing."""
    net, slots = made(depth=3, qk_norm=qk_norm)
    net, (x, t), slot = armed(net), picture(), slots["sequence"]
    empty = net(x, t, {})
    words = rand(2, 3, 16, seed=4)
    slot.words = words
    heard = net(x, t, {})
    padding = 1e6 * rand(2, 70, 16, seed=5)
    slot.words = torch.cat([words, padding], dim=1)
    slot.mask = torch.cat([torch.ones(2, 3, dtype=torch.bool), torch.zeros(2, 70, dtype=torch.bool)], dim=1)
    torch.testing.assert_close(net(x, t, {}), heard, rtol=0, atol=1e-12)
    slot.mask[1] = False
    told = net(x, t, {})
    torch.testing.assert_close(told[0], heard[0], rtol=0, atol=1e-12)
    torch.testing.assert_close(told[1], empty[1], rtol=0, atol=1e-12)
    assert (heard - empty).abs().amax(dim=(1, 2, 3)).min() > 1e-3


@torch.no_grad()
def test_words_are_a_set_unless_they_say_where_they_stand() -> None:
    net, slots = made(depth=3)
    net, (x, t), slot = armed(net), picture(), slots["sequence"]
    slot.words = rand(2, 4, 16, seed=4)
    plain = net(x, t, {})
    slot.words = slot.words[:, [2, 0, 3, 1]]
    torch.testing.assert_close(net(x, t, {}), plain, rtol=0, atol=1e-12)


@torch.no_grad()
def test_the_words_are_rewritten_by_what_they_see() -> None:
    """The second block's words have seen the picture, the time and each other; those of the last come as they went."""
    net, slots = made(depth=3)
    net, (x, t) = armed(net), picture()
    slots["sequence"].words = rand(2, 4, 16, seed=4)
    given: list[Tensor] = []
    handles = [block.register_forward_pre_hook(lambda _module, args: given.append(args[1])) for block in net.blocks]
    net(x, t, {})
    net(x + 1, t, {})
    for handle in handles:
        handle.remove()
    first, second, last, again, seen, *_ = given
    assert torch.equal(first, again)
    assert (second - first).abs().max() > 0.1
    assert (seen - second).abs().max() > 1e-3
    h, emb = rand(2, 6, 16), rand(2, 16)
    assert torch.equal(net.blocks[2](h, last, None, emb, {})[1], last)


def test_starts_as_published() -> None:
    net, slots = made()
    slots["sequence"].words = torch.randn(2, 3, 16)
    assert not net(torch.randn(2, *SAMPLE), torch.tensor([3.0, 900.0]), {}).any()
    streams = [f"blocks.{i}.{stream}.modulation.linear.weight" for i in range(2) for stream in ("picture", "words")]
    zero = {name for name, p in net.named_parameters() if name.endswith("weight") and not p.any()}
    assert zero == {*streams, "modulation.linear.weight", "out.weight"}
    weight = net.blocks[0].attn.add_q_proj.weight.detach()
    bound = (6 / 32) ** 0.5  # Xavier-uniform of a 16 x 16 matrix
    assert 0.95 * bound < weight.abs().max() <= bound
    assert not net.blocks[0].attn.add_q_proj.bias.any()


def test_every_weight_learns_once_armed() -> None:
    net, slots = made(depth=3, qk_norm=True)
    net = armed(net)
    slots["sequence"].words = rand(2, 3, 16, seed=4)
    net(*picture(), {}).square().mean().backward()
    assert [name for name, p in net.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_adaptable_layers_have_pefts_names() -> None:
    layers = made()[0].adaptable()
    assert {name for name in layers if name.startswith("blocks.0.attn.")} == {f"blocks.0.attn.{name}" for name in ATTENTION}
    asked = {f"blocks.1.attn.{name}" for name in ATTENTION if name not in UNASKED}
    assert {name for name in layers if name.startswith("blocks.1.attn.")} == asked
    assert {"stem", "out", "blocks.0.words.mlp.0", "blocks.0.picture.mlp.2", "blocks.1.words.modulation.linear"} <= set(layers)
    assert not any(name.startswith("blocks.1.words.mlp") for name in layers)
    assert all(adaptable.rows is None for adaptable in layers.values())


@pytest.mark.parametrize(
    "options", [SMALL, {"heads": 6, "width": 384, "depth": 3}, {"heads": 3, "width": 96}, {"width": 8, "heads": 2}]
)
def test_narrow_has_the_same_sites(options: dict[str, Any]) -> None:
    wide, small = made(**options)[1], made(**MMDiT.narrow({**SMALL, **options}))
    assert [(name, s.site.kind, s.site.layout, s.site.stride) for name, s in small[1].items()] == [
        (name, s.site.kind, s.site.layout, s.site.stride) for name, s in wide.items()
    ]
    assert sum(parameter.numel() for parameter in small[0].parameters()) < 1_000_000


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="heads is 3, which does not divide width 16; the nearest width is 18"):
        made(heads=3)
    with pytest.raises(ValueError, match="the picture is 4 x 4, but this transformer's positions are for 4 x 6"):
        made()[0](torch.zeros(1, 2, 4, 4), torch.zeros(1), {})
    assert cdkit_backbone() is MMDiT


@torch.no_grad()
def test_bfloat16_stays_bfloat16_with_words() -> None:
    net, slots = made(qk_norm=True)
    net = armed(net).bfloat16()
    slots["sequence"].words = rand(2, 3, 16, seed=4).bfloat16()
    x, t = picture()
    told = net(x.bfloat16(), t, {})
    assert told.dtype == torch.bfloat16
    assert told.isfinite().all()


@pytest.mark.parametrize("told", [True, False])
def test_it_learns_what_the_words_say_and_only_if_they_say_it(told: bool) -> None:
    """Noise alone at the input, one of two pictures at the output: a word says which, or the mean is the best there is."""
    net, slots = made(width=32, qk_norm=True)
    draws = torch.Generator().manual_seed(0)
    pictures, names = torch.randn((2, *SAMPLE), generator=draws), torch.randn((2, 2, 32), generator=draws)
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    losses: list[float] = []
    for _ in range(80):
        which = torch.randint(2, (16,), generator=draws)
        slots["sequence"].words = names[which] if told else names[:1].expand(16, -1, -1)
        noise = torch.randn((16, *SAMPLE), generator=draws)
        loss = F.mse_loss(net(noise, torch.full((16,), 999.0), {}), pictures[which])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    floor = float(((pictures[0] - pictures[1]) / 2).square().mean())
    if told:
        assert losses[-1] < 0.3 * floor
    else:
        assert losses[-1] > 0.8 * floor
