"""What a method says of its attention is what it answers by: the weights times the values are the answer."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from cdkit.parts import Site, Stream, Tap, Widths
from cdkit_injectors.cross_attention import CrossAttention
from cdkit_injectors.decoupled import Decoupled
from cdkit_injectors.gated import Gated
from cdkit_injectors.masked import attend, heeded
from cdkit_injectors.perceiver import Perceiver
from einops import rearrange

SITE = Site("here", "attend", "tokens", 16, 1, 8)


def words(length: int = 5, masked: int = 2) -> Stream:
    mask = torch.ones(2, length, dtype=torch.bool)
    mask[0, length - masked :] = False
    return Stream(tokens=torch.randn(2, length, 12), mask=mask)


@pytest.mark.parametrize("masked", [False, True])
def test_weights_times_values_are_the_answer(masked: bool) -> None:
    q, k, v = torch.randn(2, 7, 16), torch.randn(2, 5, 16), torch.randn(2, 5, 16)
    mask = words().mask if masked else None
    weights = heeded(q, k, mask, heads=2)
    answer = rearrange(weights @ rearrange(v, "b n (h d) -> b h n d", h=2), "b h n d -> b n (h d)")
    assert torch.allclose(answer, attend(q, k, v, mask, heads=2), atol=1e-6)


def test_who_hears_nothing_attends_to_nothing() -> None:
    weights = heeded(torch.randn(1, 3, 16), torch.randn(1, 4, 16), torch.zeros(1, 4, dtype=torch.bool), heads=2)
    assert not weights.any()


@pytest.mark.parametrize(
    ("injector", "streams"),
    [
        (CrossAttention(("text",), (Widths(tokens=12),), heads=2), 1),
        (Decoupled(("text", "image"), (Widths(tokens=12), Widths(tokens=12)), heads=2), 2),
        (Gated(("text",), (Widths(tokens=12),), heads=2), 1),
    ],
    ids=["cross_attention", "decoupled", "gated"],
)
def test_taps_say_whom_they_attend_to(injector: Any, streams: int) -> None:
    tap = injector.tap(SITE)
    assert isinstance(tap, Tap)
    weights = tap.attention(torch.randn(2, 9, 16), tap.prepare(*[words() for _ in range(streams)]))
    assert weights is not None
    assert weights.shape == (2, 2, 9, 5)
    assert not weights[0, ..., 3:].any()
    total = weights.sum(dim=-1)
    assert bool((total > 0).all())
    assert bool((total <= 1 + 1e-6).all())


def test_latents_are_no_words() -> None:
    tap = Perceiver(("text",), (Widths(tokens=12),), heads=2, latents=3).tap(SITE)
    assert isinstance(tap, Tap)
    assert tap.attention(torch.randn(2, 9, 16), tap.prepare(words())) is None
