"""added_kv: GLIDE's attention by hand and as diffusers computes it, beside `in_context`, and mutants that the parity kills."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from cdkit.build.mount import append
from cdkit.parts import Joined, Site, Stream, Widths
from cdkit_dit.attention import SelfAttention as PatchAttention
from cdkit_injectors.added_kv import AddedKV, AddedKVTap
from cdkit_injectors.in_context import InContext
from cdkit_unet.attention import SelfAttention
from torch import Tensor, nn
from torch.nn import functional as F

CHANNELS, WORDS, HEADS = 12, 8, 3
NAMES, WIDTHS = ("text",), (Widths(tokens=WORDS),)
SITE = Site("mid.sequence", "sequence", "tokens", CHANNELS, 4, 16, keys=CHANNELS)
TOLERANCE = 1e-12


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def opened(module: Any) -> Any:
    """In float64, every parameter drawn."""
    module = module.double()
    for i, parameter in enumerate(module.parameters()):
        nn.init.normal_(parameter, generator=torch.Generator().manual_seed(i))
    return module


EMB, H = drawn(2, 16), drawn(2, 4, CHANNELS, seed=3)
MASK = torch.tensor([[True] * 5, [True, False, True, False, False]])
TEXT = Stream(tokens=drawn(2, 5, WORDS, seed=4), mask=MASK)


def told(tap: Any, text: Stream = TEXT) -> Joined:
    """What a slot hands self-attention: the picture's rows and what the tap appends."""
    return append(Joined(H), tap(H, tap.prepare(text), EMB))


def asked(attention: Any, joined: Joined) -> Tensor:
    """What a block adds."""
    return attention.to_out(attention(joined, 4))


def made() -> Any:
    return opened(AddedKV(NAMES, WIDTHS).tap(SITE))


def by_hand(attention: Any, tap: Any, row: int) -> Tensor:
    """One sample, head by head: pixels and the words that count under one softmax."""
    said = TEXT.tokens[row, MASK[row]]  # pyright: ignore[reportOptionalSubscript]
    key = torch.cat([said @ tap.add_k_proj.weight.T + tap.add_k_proj.bias, H[row] @ attention.to_k.weight.T])
    value = torch.cat([said @ tap.add_v_proj.weight.T + tap.add_v_proj.bias, H[row] @ attention.to_v.weight.T])
    query = H[row] @ attention.to_q.weight.T
    parts = zip(*(x.chunk(HEADS, dim=1) for x in (query, key, value)), strict=True)
    answers = [(q @ k.T / (CHANNELS // HEADS) ** 0.5).softmax(1) @ v for q, k, v in parts]
    return attention.to_out(torch.cat(answers, dim=1))


@torch.no_grad()
def error_by_hand() -> float:
    tap, attention = made(), opened(SelfAttention(CHANNELS, HEADS))
    expected = torch.stack([by_hand(attention, tap, row) for row in range(2)])
    return apart(asked(attention, told(tap)), expected)


@torch.no_grad()
def error_against_diffusers() -> float:
    """diffusers' AttnAddedKVProcessor, which knows no mask of words, with our weights; it normalises and adds, we do not."""
    processors = pytest.importorskip("diffusers.models.attention_processor")
    tap, ours = made(), opened(SelfAttention(CHANNELS, HEADS))
    theirs = processors.Attention(
        CHANNELS,
        heads=HEADS,
        dim_head=CHANNELS // HEADS,
        added_kv_proj_dim=WORDS,
        norm_num_groups=4,
        processor=processors.AttnAddedKVProcessor(),
    ).double()
    own = {name.replace("to_out", "to_out.0"): value for name, value in ours.state_dict().items()} | tap.state_dict()
    missing, unexpected = theirs.load_state_dict(own, strict=False)
    assert (set(missing), unexpected) == ({"group_norm.weight", "group_norm.bias"}, [])
    theirs.group_norm = nn.Identity()
    picture = H.transpose(1, 2)
    expected = (theirs(picture, encoder_hidden_states=TEXT.tokens) - picture).transpose(1, 2)
    return apart(asked(ours, told(tap, Stream(tokens=TEXT.tokens))), expected)


def apart(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).abs().max() / expected.abs().max())


def test_it_is_what_the_paper_writes() -> None:
    assert error_by_hand() <= TOLERANCE


def test_it_is_what_diffusers_computes() -> None:
    assert error_against_diffusers() <= TOLERANCE


@torch.no_grad()
def test_a_transformers_fused_projection_reads_them_too() -> None:
    """`dit` has one matrix for queries, keys and values: the same arithmetic."""
    tap, split, fused = made(), opened(SelfAttention(CHANNELS, HEADS)), PatchAttention(CHANNELS, HEADS).double()
    fused.qkv.weight.copy_(torch.cat([split.to_q.weight, split.to_k.weight, split.to_v.weight]))
    fused.qkv.bias.zero_()
    fused.proj.load_state_dict(split.to_out.state_dict())
    assert apart(fused(told(tap), 4), asked(split, told(tap))) <= TOLERANCE


def ignores_words(tap: AddedKVTap, *streams: Stream) -> Any:
    return PREPARE(tap, Stream(tokens=torch.zeros_like(H[:, :1, :WORDS]).expand(-1, 5, -1), mask=streams[0].mask))


def ignores_mask(tap: AddedKVTap, *streams: Stream) -> Any:
    return PREPARE(tap, Stream(tokens=streams[0].tokens))


def keys_for_values(tap: AddedKVTap, *streams: Stream) -> Any:
    keys, _, *mask = PREPARE(tap, *streams)
    return keys, keys, *mask


def no_bias(tap: AddedKVTap, *streams: Stream) -> Any:
    keys, values, *mask = PREPARE(tap, *streams)
    return keys - tap.add_k_proj.bias, values - tap.add_v_proj.bias, *mask


def silent(tap: AddedKVTap, h: Tensor, signal: Any, emb: Tensor) -> Joined:
    del tap, signal, emb
    return Joined(h[:, :0])


PREPARE = AddedKVTap.prepare
MUTANTS: list[tuple[str, Callable[..., Any]]] = [
    ("prepare", ignores_words),
    ("prepare", ignores_mask),
    ("prepare", keys_for_values),
    ("prepare", no_bias),
    ("forward", silent),
]


@pytest.mark.parametrize(("method", "mutant"), MUTANTS, ids=[mutant.__name__ for _, mutant in MUTANTS])
def test_a_mutant_is_killed(method: str, mutant: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AddedKVTap, method, mutant)
    assert error_by_hand() > 1e-3


@torch.no_grad()
def test_with_in_context_beside_it_each_mask_stays_with_its_keys() -> None:
    """Tokens come first and projected keys last, in whichever order the spec names the two."""
    own, beside = made(), opened(InContext(NAMES, WIDTHS).tap(SITE))
    other = Stream(tokens=drawn(2, 3, WORDS, seed=5), mask=torch.tensor([[True, False, True], [False, True, True]]))
    attention = opened(SelfAttention(CHANNELS, HEADS))
    extra, words = own(H, own.prepare(TEXT), EMB), beside(H, beside.prepare(other), EMB)
    both = [append(append(Joined(H), first), second) for first, second in ((extra, words), (words, extra))]
    assert torch.equal(asked(attention, both[0]), asked(attention, both[1]))
    poisoned = Stream(tokens=other.tokens.masked_fill(~other.mask[..., None], 1e3), mask=other.mask)  # pyright: ignore
    again = append(append(Joined(H), extra), beside(H, beside.prepare(poisoned), EMB))
    assert apart(asked(attention, again), asked(attention, both[0])) <= TOLERANCE
    assert apart(asked(attention, both[0]), asked(attention, told(own))) > 1e-3


@torch.no_grad()
def test_a_mask_left_unsaid_counts_all_beside_one_that_is_said() -> None:
    own, beside = made(), opened(InContext(NAMES, WIDTHS).tap(SITE))
    whole = Stream(tokens=TEXT.tokens)
    joined = append(told(own, whole), beside(H, beside.prepare(TEXT), EMB))
    expected = torch.cat([torch.ones(2, 4, dtype=torch.bool), MASK, torch.ones(2, 5, dtype=torch.bool)], dim=1)
    assert torch.equal(joined.mask, expected)  # pyright: ignore[reportArgumentType]
    assert told(own, whole).mask is None


@torch.no_grad()
@pytest.mark.parametrize("value", [0.0, float("nan")])
def test_no_word_that_counts_leaves_self_attention(value: float) -> None:
    tap, attention = made(), opened(SelfAttention(CHANNELS, HEADS))
    nothing = Stream(tokens=torch.full_like(drawn(2, 5, WORDS), value), mask=torch.zeros_like(MASK))
    plain = asked(attention, Joined(H))
    assert apart(asked(attention, told(tap, nothing)), plain) <= TOLERANCE
    assert apart(asked(attention, told(tap, Stream(tokens=drawn(2, 0, WORDS)))), plain) <= TOLERANCE


@torch.no_grad()
def test_it_is_no_identity_even_with_keys_and_values_of_zero() -> None:
    """What the docstring says: a word whose key and value are zero still takes its share of the softmax."""
    tap, attention = made(), opened(SelfAttention(CHANNELS, HEADS))
    for parameter in tap.parameters():
        parameter.zero_()
    plain, heard = asked(attention, Joined(H)) - attention.to_out.bias, asked(attention, told(tap)) - attention.to_out.bias
    scores = [F.linear(H[0], layer.weight).chunk(HEADS, dim=1)[0] for layer in (attention.to_q, attention.to_k)]
    weights = (scores[0] @ scores[1].T / (CHANNELS // HEADS) ** 0.5).exp().sum(1)
    share = weights / (weights + 5)  # exp(0) for each of five words; head 0 answers that much of what it did
    into = torch.linalg.lstsq(attention.to_out.weight, plain[0].T).solution.T.chunk(HEADS, dim=1)[0]
    left = torch.linalg.lstsq(attention.to_out.weight, heard[0].T).solution.T.chunk(HEADS, dim=1)[0]
    torch.testing.assert_close(left, into * share[:, None], rtol=1e-8, atol=1e-8)


def test_keys_are_as_wide_as_the_site_says() -> None:
    """`unet_classic` attends in heads x head_dim channels, whatever its map has."""
    tap = AddedKV(NAMES, WIDTHS).tap(Site("mid.sequence", "sequence", "tokens", 64, 4, 16, keys=128))
    assert tap is not None
    assert {name: tuple(value.shape) for name, value in tap.state_dict().items()} == {
        "add_k_proj.weight": (128, WORDS),
        "add_k_proj.bias": (128,),
        "add_v_proj.weight": (128, WORDS),
        "add_v_proj.bias": (128,),
    }
    assert set(tap.adaptable()) == {"add_k_proj", "add_v_proj"}


def test_it_takes_no_other_place() -> None:
    injector = AddedKV(NAMES, WIDTHS)
    assert injector.tap(Site("mid.attend", "attend", "tokens", CHANNELS, 4, 16)) is None
    assert injector.tap(Site("mid.sequence", "sequence", "tokens", CHANNELS, 4, 16)) is None  # takes no keys


@pytest.mark.parametrize(
    ("streams", "widths", "text"),
    [
        (("size",), (Widths(pooled=6),), "added_kv needs tokens, but stream 'size' offers pooled of width 6"),
        (("a", "b"), (*WIDTHS, *WIDTHS), r"added_kv reads exactly one stream; got 2 \('a', 'b'\)"),
        ((), (), r"added_kv reads exactly one stream; got 0 \(none\)"),
    ],
)
def test_refusals(streams: Any, widths: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        AddedKV(streams, widths)


@pytest.mark.parametrize("dtype", [torch.int64, torch.float32])
def test_a_mask_of_another_type_is_refused(dtype: torch.dtype) -> None:
    with pytest.raises(ValueError, match="a mask must be bool, True where a token counts; got"):
        made().prepare(Stream(tokens=TEXT.tokens, mask=MASK.to(dtype)))
