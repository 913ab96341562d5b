"""gated: GLIGEN's equation by hand and as diffusers computes it, and mutants that the parity kills."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from cdkit.parts import Site, Stream, Widths
from cdkit_injectors.gated import Gated, GatedTap
from cdkit_injectors.masked import attend
from torch import Tensor, nn
from torch.nn import functional as F

CHANNELS, WORDS, HEADS = 12, 8, 3
NAMES, WIDTHS = ("text",), (Widths(tokens=WORDS),)
ATTEND = Site("mid.attend", "attend", "tokens", CHANNELS, 4, 16)
TOLERANCE = 1e-12


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


EMB, H = drawn(2, 16), drawn(2, 4, CHANNELS, seed=3)
MASK = torch.tensor([[True] * 5, [True, False, True, False, False]])
TEXT = Stream(tokens=drawn(2, 5, WORDS, seed=4), mask=MASK)


def made() -> Any:
    """A tap in float64, every parameter drawn, the gate too."""
    tap: Any = Gated(NAMES, WIDTHS, heads=HEADS).tap(ATTEND)
    for i, parameter in enumerate(tap.double().parameters()):
        nn.init.normal_(parameter, generator=torch.Generator().manual_seed(i))
    return tap


def by_hand(tap: Any, row: int) -> Tensor:
    """One sample: self-attention over all rows, pixels and the words that count, of which the pixels' answers are kept."""
    said = TEXT.tokens[row, MASK[row]] @ tap.linear.weight.T + tap.linear.bias  # pyright: ignore[reportOptionalSubscript]
    rows = F.layer_norm(torch.cat([H[row], said]), (CHANNELS,), tap.norm1.weight, tap.norm1.bias)
    q, k, v = ((rows @ layer.weight.T).chunk(HEADS, dim=1) for layer in (tap.attn.to_q, tap.attn.to_k, tap.attn.to_v))
    scale = (CHANNELS // HEADS) ** -0.5
    answers = torch.cat([(scale * a @ b.T).softmax(1) @ c for a, b, c in zip(q, k, v, strict=True)], dim=1)
    out = answers @ tap.attn.to_out[0].weight.T + tap.attn.to_out[0].bias
    return H[row] + torch.tanh(tap.alpha_attn) * out[: len(H[row])]


@torch.no_grad()
def error_by_hand() -> float:
    tap = made()
    return apart(tap(H, tap.prepare(TEXT), EMB), torch.stack([by_hand(tap, row) for row in range(2)]))


def apart(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).abs().max() / expected.abs().max())


def test_it_is_what_the_paper_writes() -> None:
    assert error_by_hand() <= TOLERANCE


@torch.no_grad()
def test_it_is_what_diffusers_computes() -> None:
    """Their layer goes on with a gated feed-forward that the paper's equation has not: new, its gate is shut."""
    attention = pytest.importorskip("diffusers.models.attention")
    tap, theirs = made(), attention.GatedSelfAttentionDense(CHANNELS, WORDS, HEADS, CHANNELS // HEADS).double()
    missing, unexpected = theirs.load_state_dict(tap.state_dict(), strict=False)
    assert not unexpected
    assert {name.split(".")[0] for name in missing} == {"ff", "norm2", "alpha_dense"}
    whole = Stream(tokens=TEXT.tokens)
    assert apart(tap(H, tap.prepare(whole), EMB), theirs(H, TEXT.tokens)) <= TOLERANCE


def ignores_words(tap: GatedTap, *streams: Stream) -> Any:
    keys, values, *mask = PREPARE(tap, *streams)
    return torch.zeros_like(keys), torch.zeros_like(values), *mask


def ignores_mask(tap: GatedTap, *streams: Stream) -> Any:
    return PREPARE(tap, Stream(tokens=streams[0].tokens))


def unnormed(tap: GatedTap, *streams: Stream) -> Any:
    words = tap.linear(streams[0].tokens)  # pyright: ignore[reportArgumentType]
    return tap.attn.to_k(words), tap.attn.to_v(words), streams[0].mask


def cross_attends(tap: GatedTap, h: Tensor, signal: Any, emb: Tensor) -> Tensor:
    """Words alone answer, as in cross-attention."""
    del emb
    keys, values, mask = signal
    answer = attend(tap.attn.to_q(tap.norm1(h)), keys, values, mask, heads=HEADS)
    return h + tap.alpha_attn.tanh() * tap.attn.to_out[0](answer)


def ungated(tap: GatedTap, h: Tensor, signal: Any, emb: Tensor) -> Tensor:
    return h + (FORWARD(tap, h, signal, emb) - h) / tap.alpha_attn.tanh()


def linear_gate(tap: GatedTap, h: Tensor, signal: Any, emb: Tensor) -> Tensor:
    return h + (FORWARD(tap, h, signal, emb) - h) / tap.alpha_attn.tanh() * tap.alpha_attn


FORWARD, PREPARE = GatedTap.forward, GatedTap.prepare
MUTANTS: list[tuple[str, Callable[..., Any]]] = [
    ("prepare", ignores_words),
    ("prepare", ignores_mask),
    ("prepare", unnormed),
    ("forward", cross_attends),
    ("forward", ungated),
    ("forward", linear_gate),
]


@pytest.mark.parametrize(("method", "mutant"), MUTANTS, ids=[mutant.__name__ for _, mutant in MUTANTS])
def test_a_mutant_is_killed(method: str, mutant: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(GatedTap, method, mutant)
    assert error_by_hand() > 1e-3


@torch.no_grad()
def test_at_birth_it_is_the_identity_though_its_projections_are_not_zero() -> None:
    tap: Any = Gated(NAMES, WIDTHS, heads=HEADS).tap(ATTEND)
    assert torch.equal(tap.double()(H, tap.prepare(TEXT), EMB), H)
    assert all(bool(value.any()) for name, value in tap.state_dict().items() if name.endswith("weight"))
    tap.alpha_attn.fill_(0.5)
    assert apart(tap(H, tap.prepare(TEXT), EMB), H) > 1e-3


@torch.no_grad()
@pytest.mark.parametrize("value", [0.0, float("nan")])
def test_a_sample_with_no_word_that_counts_keeps_h(value: float) -> None:
    """Though pixels could still answer pixels: what was not said opens nothing."""
    tap, mask = made(), MASK & torch.tensor([[True], [False]])
    half = Stream(tokens=drawn(2, 5, WORDS, seed=4).masked_fill(~mask[..., None], value), mask=mask)
    out = tap(H, tap.prepare(half), EMB)
    assert torch.equal(out[1], H[1])
    assert apart(out[:1], tap(H, tap.prepare(TEXT), EMB)[:1]) <= TOLERANCE
    assert torch.equal(tap(H, tap.prepare(Stream(tokens=drawn(2, 0, WORDS))), EMB), H)


def test_its_names_are_published() -> None:
    tap = Gated(NAMES, (Widths(tokens=768),), heads=8).tap(Site("a", "attend", "tokens", 320, 1, 1280))
    assert tap is not None
    assert {name: tuple(value.shape) for name, value in tap.state_dict().items()} == {
        "alpha_attn": (),
        "linear.weight": (320, 768),
        "linear.bias": (320,),
        "norm1.weight": (320,),
        "norm1.bias": (320,),
        "attn.to_q.weight": (320, 320),
        "attn.to_k.weight": (320, 320),
        "attn.to_v.weight": (320, 320),
        "attn.to_out.0.weight": (320, 320),
        "attn.to_out.0.bias": (320,),
    }
    assert set(tap.adaptable()) == {"linear", "attn.to_q", "attn.to_k", "attn.to_v", "attn.to_out"}


@pytest.mark.parametrize(
    ("streams", "widths", "options", "text"),
    [
        (("size",), (Widths(pooled=6),), {}, "gated needs tokens, but stream 'size' offers pooled of width 6"),
        (("a", "b"), (*WIDTHS, *WIDTHS), {}, r"gated reads exactly one stream; got 2 \('a', 'b'\)"),
        (NAMES, WIDTHS, {"heads": 2, "head_dim": 4}, "gated: heads is 2 and head_dim is 4; expected one of the two"),
    ],
)
def test_refusals(streams: Any, widths: Any, options: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        Gated(streams, widths, **options)


def test_heads_that_do_not_divide() -> None:
    with pytest.raises(ValueError, match=r"gated at mid.attend: heads is 5, which does not divide the 12 channels there"):
        Gated(NAMES, WIDTHS, heads=5).tap(ATTEND)


def test_narrow_fits_any_width() -> None:
    options = Gated.narrow({"heads": 7, "head_dim": None})
    assert Gated(NAMES, WIDTHS, **options).tap(Site("a", "attend", "tokens", 16, 1, 64)) is not None
