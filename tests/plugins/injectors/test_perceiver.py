"""perceiver: Flamingo's resampler by hand and as diffusers computes it, one for all sites; and mutants that the parity kills."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from cdkit.build.mount import Mounted, Mounting
from cdkit.parts import SampleShape, Site, Stream, Widths
from cdkit_injectors import resampler
from cdkit_injectors.cross_attention import CrossAttention
from cdkit_injectors.perceiver import Perceiver, PerceiverTap
from cdkit_injectors.resampler import Resampler
from cdkit_unet.unet import UNet
from torch import Tensor, nn
from torch.nn import functional as F

CHANNELS, WORDS, WIDTH, HEADS, LATENTS, DEPTH = 12, 8, 6, 3, 4, 2
NAMES, WIDTHS = ("text",), (Widths(tokens=WORDS),)
ATTEND = Site("mid.attend", "attend", "tokens", CHANNELS, 4, 16)
OPTIONS: dict[str, Any] = {"latents": LATENTS, "depth": DEPTH, "width": WIDTH, "heads": HEADS}
TOLERANCE = 1e-12


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


EMB, H = drawn(2, 16), drawn(2, 4, CHANNELS, seed=3)
MASK = torch.tensor([[True] * 5, [True, False, True, False, False]])
TEXT = Stream(tokens=drawn(2, 5, WORDS, seed=4), mask=MASK)


def opened(module: Any) -> Any:
    """In float64, every parameter drawn."""
    for i, parameter in enumerate(module.double().parameters()):
        nn.init.normal_(parameter, generator=torch.Generator().manual_seed(i))
    return module


def made(**options: Any) -> Any:
    return opened(Perceiver(NAMES, WIDTHS, **(OPTIONS | options)).tap(ATTEND))


def attended(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    parts = zip(*(x.chunk(HEADS, dim=1) for x in (query, key, value)), strict=True)
    return torch.cat([(q @ k.T / q.shape[1] ** 0.5).softmax(1) @ v for q, k, v in parts], dim=1)


def resampled(own: Any, said: Tensor) -> Tensor:
    """One sample's tokens that count (L, D) -> (R, W)."""

    def normed(norm: nn.LayerNorm, x: Tensor) -> Tensor:
        centred = x - x.mean(1, keepdim=True)
        return centred / (centred.square().mean(1, keepdim=True) + 1e-5).sqrt() * norm.weight + norm.bias

    tokens, x = said @ own.proj_in.weight.T + own.proj_in.bias, own.latents[0]
    for layer in own.layers:
        asking = normed(layer.ln1, x)
        read = torch.cat([asking, normed(layer.ln0, tokens)])
        q, k, v = asking @ layer.attn.to_q.weight.T, read @ layer.attn.to_k.weight.T, read @ layer.attn.to_v.weight.T
        x = x + attended(q, k, v) @ layer.attn.to_out[0].weight.T
        hidden = F.gelu(normed(layer.ff[0], x) @ layer.ff[1].net[0].proj.weight.T)
        x = x + hidden @ layer.ff[1].net[2].weight.T
    return normed(own.norm_out, x @ own.proj_out.weight.T + own.proj_out.bias)


def by_hand(tap: Any, row: int) -> Tensor:
    told = resampled(tap.resampler, TEXT.tokens[row, MASK[row]])  # pyright: ignore[reportOptionalSubscript]
    asking = F.layer_norm(H[row], (CHANNELS,), tap.norm2.weight, tap.norm2.bias) @ tap.attn2.to_q.weight.T
    answer = attended(asking, told @ tap.attn2.to_k.weight.T, told @ tap.attn2.to_v.weight.T)
    return H[row] + answer @ tap.attn2.to_out[0].weight.T + tap.attn2.to_out[0].bias


@torch.no_grad()
def error_by_hand() -> float:
    tap = made()
    return apart(tap(H, tap.prepare(TEXT), EMB), torch.stack([by_hand(tap, row) for row in range(2)]))


def apart(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).abs().max() / expected.abs().max())


def test_it_is_what_the_paper_writes() -> None:
    assert error_by_hand() <= TOLERANCE


@torch.no_grad()
def test_the_resampler_is_ip_adapters_name_for_name() -> None:
    embeddings = pytest.importorskip("diffusers.models.embeddings")
    ours = opened(Resampler(WORDS, WIDTH, latents=LATENTS, depth=DEPTH, heads=HEADS))
    theirs = embeddings.IPAdapterPlusImageProjection(WORDS, WIDTH, WIDTH, DEPTH, WIDTH // HEADS, HEADS, LATENTS).double()
    theirs.load_state_dict(ours.state_dict())
    assert TEXT.tokens is not None
    assert apart(ours(TEXT.tokens, None), theirs(TEXT.tokens)) <= TOLERANCE


def ignores_words(own: Resampler, tokens: Tensor, mask: Tensor | None) -> Tensor:
    return RESAMPLE(own, torch.zeros_like(tokens), mask)


def ignores_mask(own: Resampler, tokens: Tensor, mask: Tensor | None) -> Tensor:
    del mask
    return RESAMPLE(own, tokens, None)


def one_layer(own: Resampler, tokens: Tensor, mask: Tensor | None) -> Tensor:
    cut = copy.deepcopy(own)
    cut.layers = cut.layers[:1]
    return RESAMPLE(cut, tokens, mask)


RESAMPLE = Resampler.forward
MUTANTS: list[Callable[..., Any]] = [ignores_words, ignores_mask, one_layer]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_a_mutant_is_killed(mutant: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Resampler, "forward", mutant)
    assert error_by_hand() > 1e-3


def test_latents_that_do_not_hear_each_other_are_no_perceiver(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys and values are of tokens and latents both (section 3.1.1)."""

    def tokens_alone(self: Any, latents: Tensor, read: Tensor, mask: Tensor | None, *, heads: int) -> Tensor:
        cut = read.shape[1] - latents.shape[1]
        return ATTEND_ALL(self, latents, read[:, :cut], None if mask is None else mask[:, :cut], heads=heads)

    monkeypatch.setattr(resampler.Attention, "forward", tokens_alone)
    assert error_by_hand() > 1e-3


ATTEND_ALL = resampler.Attention.forward


@torch.no_grad()
def test_the_picture_hears_as_in_cross_attention() -> None:
    """Weight for weight, told the resampled tokens."""
    tap = made()
    plain = CrossAttention(NAMES, (Widths(tokens=WIDTH),), heads=HEADS).tap(ATTEND)
    assert plain is not None
    plain.double().load_state_dict({k: v for k, v in tap.state_dict().items() if not k.startswith("resampler.")})
    told = Stream(tokens=tap.resampler(TEXT.tokens.masked_fill(~MASK[..., None], 0), MASK))  # pyright: ignore
    assert torch.equal(tap(H, tap.prepare(TEXT), EMB), plain(H, plain.prepare(told), EMB))


def test_at_birth_it_is_the_identity() -> None:
    tap = Perceiver(NAMES, WIDTHS, **OPTIONS).tap(ATTEND)
    assert tap is not None
    assert torch.equal(tap.double()(H, tap.prepare(TEXT), EMB), H)


@torch.no_grad()
@pytest.mark.parametrize("value", [0.0, float("nan")])
def test_a_sample_with_no_word_that_counts_keeps_h(value: float) -> None:
    """Though its latents, which learned something of their own, could speak."""
    tap, mask = made(), MASK & torch.tensor([[True], [False]])
    half = Stream(tokens=drawn(2, 5, WORDS, seed=4).masked_fill(~mask[..., None], value), mask=mask)
    out = tap(H, tap.prepare(half), EMB)
    assert torch.equal(out[1], H[1])
    assert apart(out[:1], tap(H, tap.prepare(TEXT), EMB)[:1]) <= TOLERANCE
    assert torch.equal(tap(H, tap.prepare(Stream(tokens=drawn(2, 0, WORDS))), EMB), H)


def test_many_words_are_left_as_few() -> None:
    keys, values = made().prepare(Stream(tokens=drawn(2, 77, WORDS)))
    assert keys.shape == values.shape == (2, LATENTS, CHANNELS)


# --------------------------------------------------------------------------- one resampler for all sites


def mounted() -> tuple[UNet, Mounting]:
    mounting = Mounting({"words": Mounted(Perceiver(NAMES, WIDTHS, **(OPTIONS | {"heads": 2})))})
    return UNet(mounting, SampleShape(1, 8, 8), width=16, mult=(1, 2), blocks=1, attention=(1,), heads=2), mounting


def test_one_resampler_is_registered_once_and_heard_everywhere() -> None:
    network, mounting = mounted()
    taps: list[Any] = [slot.taps["words"] for slot in mounting.slots.values() if "words" in slot.taps]
    assert len(taps) == 4
    assert [hasattr(tap, "resampler") for tap in taps] == [True, False, False, False]
    held = {name for name, _ in network.named_parameters(remove_duplicate=False) if ".resampler." in name}
    assert {name.split(".taps.words.")[0] for name in held} == {"down.1.attn.0.blocks.0.attend"}
    assert len(held) == len(dict(taps[0].resampler.named_parameters()))
    opened(network)
    before = [tap.prepare(TEXT)[0] for tap in taps]
    with torch.no_grad():
        taps[0].resampler.norm_out.bias.add_(1)
    assert all(apart(tap.prepare(TEXT)[0].detach(), keys.detach()) > 1e-3 for tap, keys in zip(taps, before, strict=True))


def test_every_site_teaches_it() -> None:
    network, mounting = mounted()
    taps: list[Any] = [slot.taps["words"] for slot in mounting.slots.values() if "words" in slot.taps]
    opened(network)
    for tap in taps:
        network.zero_grad()
        keys, values, _ = tap.prepare(TEXT)
        (keys.square().sum() + values.square().sum()).backward()
        assert float(taps[0].resampler.latents.grad.abs().max()) > 0


@torch.no_grad()
def test_a_copy_and_a_loaded_network_keep_the_bond() -> None:
    """A deep copy shares its own resampler, not the original's; weights loaded into another network reach every site."""
    network, mounting = mounted()
    opened(network)
    first, *rest = [module for module in copy.deepcopy(network).modules() if isinstance(module, PerceiverTap)]
    originals = [module for module in network.modules() if isinstance(module, PerceiverTap)]
    before = [tap.prepare(TEXT)[0] for tap in originals]
    first.resampler.norm_out.bias.add_(1)
    assert all(apart(tap.prepare(TEXT)[0], keys) > 1e-3 for tap, keys in zip([first, *rest], before, strict=True))
    assert all(torch.equal(tap.prepare(TEXT)[0], keys) for tap, keys in zip(originals, before, strict=True))
    other, again = mounted()
    other.double().load_state_dict(network.state_dict())
    for name, slot in mounting.slots.items():
        for tap in slot.taps.values():
            assert torch.equal(again.slots[name].taps["words"].prepare(TEXT)[0], tap.prepare(TEXT)[0])  # pyright: ignore


def test_two_injectors_have_two() -> None:
    first, second = (Perceiver(NAMES, WIDTHS, **OPTIONS).tap(ATTEND) for _ in range(2))
    assert isinstance(first, PerceiverTap)
    assert isinstance(second, PerceiverTap)
    assert first.resampler is not second.resampler


def test_what_may_be_adapted_is_named_once() -> None:
    tap = made()
    names = set(tap.adaptable())
    assert {"attn2.to_q", "attn2.to_k", "attn2.to_v", "attn2.to_out", "resampler.proj_in"} <= names
    assert {"resampler.layers.1.attn.to_out", "resampler.layers.0.ff.1.net.2"} <= names


@pytest.mark.parametrize(
    ("streams", "widths", "options", "text"),
    [
        (("size",), (Widths(pooled=6),), {}, "perceiver needs tokens, but stream 'size' offers pooled of width 6"),
        (("a", "b"), (*WIDTHS, *WIDTHS), {}, r"perceiver reads exactly one stream; got 2 \('a', 'b'\)"),
        (NAMES, WIDTHS, {"heads": 2, "head_dim": 4}, "perceiver: heads is 2 and head_dim is 4; expected one of the two"),
        (NAMES, WIDTHS, {"heads": 3}, "perceiver at its resampler: heads is 3, which does not divide the 8 channels there"),
    ],
)
def test_refusals(streams: Any, widths: Any, options: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        Perceiver(streams, widths, **options)


def test_heads_that_do_not_divide_a_site() -> None:
    with pytest.raises(ValueError, match=r"perceiver at mid\.attend: heads is 8, which does not divide the 12 channels there"):
        Perceiver(NAMES, WIDTHS, heads=8).tap(ATTEND)


def test_narrow_fits_any_width() -> None:
    options = Perceiver.narrow({"heads": 7, "head_dim": None, "width": 1280, "latents": 4, "depth": 1})
    assert options == {"latents": 4, "depth": 1}
    assert Perceiver(NAMES, (Widths(tokens=3),), **options).tap(Site("a", "attend", "tokens", 16, 1, 64)) is not None
