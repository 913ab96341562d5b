"""What each injector computes, against closed forms and independent arithmetic in float64."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from cdkit.parts import Site, Stream, Widths
from cdkit_injectors.adaln_zero import AdaLNZero
from cdkit_injectors.add import Add
from cdkit_injectors.concat import Concat
from cdkit_injectors.cross_attention import CrossAttention
from cdkit_injectors.film import Film
from cdkit_injectors.in_context import InContext
from cdkit_injectors.text_query import TextQuery
from torch import Tensor, nn
from torch.nn import functional as F

ATTEND = Site("mid.attend", "attend", "tokens", 12, 4, 16)
WIDTHS = (Widths(tokens=8, pooled=6, spatial=2),)
NAMES = ("text",)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def opened(tap: Any) -> Any:
    tap = tap.double()
    for i, parameter in enumerate(tap.parameters()):
        nn.init.normal_(parameter, generator=torch.Generator().manual_seed(i))
    return tap


EMB = drawn(2, 16)
WORDS = Stream(tokens=drawn(2, 5, 8), mask=torch.tensor([[True] * 5, [True, False, True, False, False]]))


def by_hand(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
    """Attention of one sample, head by head."""
    parts = [x.chunk(heads, dim=1) for x in (q, k, v)]
    outs = [((a @ b.T) / a.shape[1] ** 0.5).softmax(1) @ c for a, b, c in zip(*parts, strict=True)]
    return torch.cat(outs, dim=1)


def test_cross_attention_by_hand() -> None:
    tap = opened(CrossAttention(NAMES, WIDTHS, heads=3).tap(ATTEND))
    h = drawn(2, 4, 12, seed=3)
    out = tap(h, tap.prepare(WORDS), EMB)
    for i in range(2):
        assert WORDS.tokens is not None
        assert WORDS.mask is not None
        said = WORDS.tokens[i, WORDS.mask[i]]
        normed = F.layer_norm(h[i], (12,), tap.norm2.weight, tap.norm2.bias)
        answer = by_hand(tap.attn2.to_q(normed), tap.attn2.to_k(said), tap.attn2.to_v(said), 3)
        torch.testing.assert_close(out[i], h[i] + tap.attn2.to_out[0](answer), rtol=1e-13, atol=1e-13)


def test_text_query_by_hand() -> None:
    tap = opened(TextQuery(NAMES, WIDTHS, heads=3).tap(ATTEND))
    h = drawn(2, 4, 12, seed=3)
    out = tap(h, tap.prepare(WORDS), EMB)
    for i in range(2):
        assert WORDS.tokens is not None
        assert WORDS.mask is not None
        normed = F.layer_norm(h[i], (12,), tap.norm.weight, tap.norm.bias)
        answers = by_hand(tap.to_q(WORDS.tokens[i, WORDS.mask[i]]), tap.to_k(normed), tap.to_v(normed), 3)
        scale, shift = tap.to_out(answers.mean(0)).chunk(2)
        torch.testing.assert_close(out[i], h[i] * (1 + scale) + shift, rtol=1e-13, atol=1e-12)


@pytest.mark.parametrize("injector", [CrossAttention, TextQuery])
@pytest.mark.parametrize("value", [0.0, float("nan")])
def test_no_word_that_counts_leaves_h_bit_for_bit(injector: Any, value: float) -> None:
    tap = opened(injector(NAMES, WIDTHS, heads=3).tap(ATTEND))
    h = drawn(2, 4, 12)
    silent = Stream(tokens=torch.full((2, 5, 8), value, dtype=torch.float64), mask=torch.zeros(2, 5, dtype=torch.bool))
    assert torch.equal(tap(h, tap.prepare(silent), EMB), h)
    assert torch.equal(tap(h, tap.prepare(Stream(tokens=drawn(2, 0, 8))), EMB), h)


@pytest.mark.parametrize("injector", [CrossAttention, TextQuery])
@torch.no_grad()
def test_padding_in_float32(injector: Any) -> None:
    tap = opened(injector(NAMES, WIDTHS, heads=3).tap(ATTEND)).float()
    h, tokens = drawn(2, 4, 12).float(), drawn(2, 5, 8).float()
    longer = torch.cat([tokens, drawn(2, 72, 8, seed=9).float()], dim=1)
    mask = (torch.arange(77) < 5).expand(2, -1)
    short = tap(h, tap.prepare(Stream(tokens=tokens)), EMB.float())
    padded = tap(h, tap.prepare(Stream(tokens=longer, mask=mask)), EMB.float())
    assert float((padded - short).abs().max() / short.abs().max()) <= 1e-6


@pytest.mark.parametrize(("layout", "shape"), [("map", (12, 3, 3)), ("tokens", (9, 12)), ("vector", (12,))])
def test_film_in_every_layout(layout: Any, shape: tuple[int, ...]) -> None:
    tap = opened(Film(NAMES, WIDTHS).tap(Site("norm", "norm", layout, 12, 1, 16)))
    h, pooled = drawn(2, *shape), drawn(2, 6, seed=4)
    out = tap(h, tap.prepare(Stream(pooled=pooled)), EMB)
    scale, shift = tap.project(pooled).chunk(2, dim=1)
    axis = 1 if layout == "map" else h.dim() - 1
    expected = h.movedim(axis, 1).flatten(2) if h.dim() > 2 else h[..., None]
    expected = expected * (1 + scale)[..., None] + shift[..., None]
    found = out.movedim(axis, 1).flatten(2) if h.dim() > 2 else out[..., None]
    torch.testing.assert_close(found, expected, rtol=1e-15, atol=1e-15)


@pytest.mark.parametrize("published", [False, True])
def test_adaln_zero_gate(published: bool) -> None:
    site = Site("branch", "branch", "tokens", 12, 1, 16)
    injector = AdaLNZero(NAMES, WIDTHS, published=published)
    new = injector.tap(site)
    assert new is not None
    h, said = drawn(2, 4, 12), Stream(pooled=drawn(2, 6))
    assert torch.equal(new.double()(h, new.prepare(said), EMB), h * (0 if published else 1))
    tap = opened(injector.tap(site))
    gate = tap.project(F.silu(drawn(2, 6))) + (0 if published else 1)
    torch.testing.assert_close(tap(h, tap.prepare(said), EMB), h * gate[:, None], rtol=1e-15, atol=1e-15)


def test_add_has_sdxls_two_linears() -> None:
    tap = opened(Add(NAMES, (Widths(pooled=2816),), hidden=1280).tap(Site("embed", "embed", "vector", 1280, 1, 1280)))
    shapes = {name: tuple(value.shape) for name, value in tap.state_dict().items()}
    assert shapes == {
        "project.0.weight": (1280, 2816),
        "project.0.bias": (1280,),
        "project.2.weight": (1280, 1280),
        "project.2.bias": (1280,),
    }


def test_concat_is_the_convolution_of_the_concatenation() -> None:
    stem = nn.Conv2d(3, 12, 3, padding=1).double()
    tap = opened(Concat(NAMES, WIDTHS).tap(Site("input", "input", "map", 12, 1, 16)))
    x, told = drawn(2, 3, 8, 8), drawn(2, 2, 8, 8, seed=5)
    joined = F.conv2d(torch.cat([x, told], 1), torch.cat([stem.weight, tap.kernel.weight], 1), stem.bias, padding=1)
    torch.testing.assert_close(tap(stem(x), tap.prepare(Stream(spatial=told)), EMB), joined, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("layout", ["map", "tokens"])
def test_concat_on_patches(layout: Any) -> None:
    tap = opened(Concat(NAMES, WIDTHS).tap(Site("input", "input", layout, 12, 4, 16)))
    told = drawn(2, 2, 8, 8)
    h = torch.zeros((2, 12, 2, 2) if layout == "map" else (2, 4, 12), dtype=torch.float64)
    out = tap(h, tap.prepare(Stream(spatial=told)), EMB)
    patch = (tap.kernel.weight * told[1, :, 4:, :4]).sum(dim=(1, 2, 3))
    torch.testing.assert_close(out[1, :, 1, 0] if layout == "map" else out[1, 2], patch, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("site", "told", "h", "text"),
    [
        (Site("i", "input", "map", 12, 1, 16), (4, 6), (12, 8, 8), "the map is 4 x 6, but the picture is 8 x 8; give one of"),
        (Site("i", "input", "map", 12, 2, 16), (4, 4), (12, 4, 4), "the map is 4 x 4, but the picture is 8 x 8; give one of"),
        (Site("i", "input", "map", 12, 2, 16), (5, 4), (12, 4, 4), "a map of 5 x 4 does not divide into patches of 2 rows"),
        (Site("i", "input", "tokens", 12, 2, 16), (4, 4), (16, 12), "which makes 4 patches, but the picture has 16"),
    ],
)
def test_a_map_of_another_size_is_refused(site: Site, told: tuple[int, int], h: tuple[int, ...], text: str) -> None:
    tap = Concat(NAMES, WIDTHS).tap(site)
    assert tap is not None
    with pytest.raises(ValueError, match=text):
        tap(torch.zeros(2, *h), tap.prepare(Stream(spatial=torch.zeros(2, 2, *told))), EMB)


def test_in_context_appends_words_with_their_mask() -> None:
    tap = opened(InContext(NAMES, WIDTHS).tap(Site("s", "sequence", "tokens", 12, 1, 16)))
    joined = tap(drawn(2, 4, 12), tap.prepare(WORDS), EMB)
    assert WORDS.tokens is not None
    assert torch.equal(joined.mask, WORDS.mask)
    torch.testing.assert_close(joined.tokens[0], tap.project(tap.norm(WORDS.tokens[0])), rtol=1e-13, atol=1e-13)


def test_cross_attention_is_stable_diffusions_name_for_name() -> None:
    tap = CrossAttention(NAMES, (Widths(tokens=768),), heads=8).tap(Site("a", "attend", "tokens", 320, 1, 1280))
    assert tap is not None
    assert {name: tuple(value.shape) for name, value in tap.state_dict().items()} == {
        "norm2.weight": (320,),
        "norm2.bias": (320,),
        "attn2.to_q.weight": (320, 320),
        "attn2.to_k.weight": (320, 768),
        "attn2.to_v.weight": (320, 768),
        "attn2.to_out.0.weight": (320, 320),
        "attn2.to_out.0.bias": (320,),
    }


REFUSALS: list[tuple[Any, tuple[str, ...], tuple[Widths, ...], dict[str, Any], str]] = [
    (Film, ("text",), (Widths(tokens=8),), {}, "film needs pooled, but stream 'text' offers tokens of width 8"),
    (
        CrossAttention,
        ("size",),
        (Widths(pooled=6),),
        {},
        "cross_attention needs tokens, but stream 'size' offers pooled of width 6",
    ),
    (Concat, ("text",), (Widths(tokens=8),), {}, "concat needs spatial or pooled, but stream 'text' offers tokens of width 8"),
    (Add, ("a", "b"), (*WIDTHS, *WIDTHS), {}, r"add reads exactly one stream; got 2 \('a', 'b'\)"),
    (TextQuery, (), (), {}, r"text_query reads exactly one stream; got 0 \(none\)"),
    (CrossAttention, ("text",), WIDTHS, {"heads": 2, "head_dim": 4}, "heads is 2 and head_dim is 4; expected one of the two"),
    (CrossAttention, ("text",), WIDTHS, {"width": 9}, "expects tokens of width 9, but stream 'text' offers tokens of width 8"),
]


@pytest.mark.parametrize(("injector", "streams", "widths", "options", "text"), REFUSALS)
def test_refusals(injector: Any, streams: Any, widths: Any, options: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        injector(streams, widths, **options)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"heads": 5}, "at mid.attend: heads is 5, which does not divide the 12 channels there; the nearest that do are 4 and 6"),
        ({"head_dim": 24}, "at mid.attend: head_dim is 24, which does not divide the 12 channels there"),
    ],
)
@pytest.mark.parametrize("injector", [CrossAttention, TextQuery])
def test_heads_that_do_not_divide(injector: Any, options: dict[str, int], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        injector(NAMES, WIDTHS, **options).tap(ATTEND)


@pytest.mark.parametrize("dtype", [torch.int64, torch.float32])
@pytest.mark.parametrize("injector", [CrossAttention, TextQuery])
def test_a_mask_of_another_type_is_refused(injector: Any, dtype: torch.dtype) -> None:
    tap = injector(NAMES, WIDTHS).tap(ATTEND)
    with pytest.raises(ValueError, match="a mask must be bool, True where a token counts; got"):
        tap.prepare(Stream(tokens=torch.zeros(2, 5, 8), mask=torch.ones(2, 5).to(dtype)))


def test_a_mask_of_another_length_is_refused() -> None:
    tap = CrossAttention(NAMES, WIDTHS).tap(ATTEND)
    assert tap is not None
    with pytest.raises(ValueError, match=r"the mask is \(2, 4\), but the tokens are \(2, 5\) \(batch, words\)"):
        tap.prepare(Stream(tokens=torch.zeros(2, 5, 8), mask=torch.ones(2, 4, dtype=torch.bool)))


@pytest.mark.parametrize("injector", [CrossAttention, TextQuery])
def test_narrow_fits_any_width(injector: Any) -> None:
    options = injector.narrow({"heads": 7, "head_dim": None})
    assert injector(NAMES, (Widths(tokens=3),), **options).tap(Site("a", "attend", "tokens", 16, 1, 64)) is not None
