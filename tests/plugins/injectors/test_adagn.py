"""adagn: diffusers' residual block with scale and shift, number for number, and mutants that the parity kills."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from cdkit.parts import Site, Stream, Widths
from cdkit_injectors.adagn import AdaGN, AdaGNTap
from torch import Tensor, nn

CHANNELS, EMBEDDING, POOLED = 8, 16, 6
NAMES, WIDTHS = ("text",), (Widths(tokens=5, pooled=POOLED),)
SITE = Site("mid.norm2", "norm", "map", CHANNELS, 1, EMBEDDING)
TOLERANCE = 1e-12


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def opened(site: Site = SITE) -> Any:
    """Its tap there, every parameter drawn."""
    tap: Any = AdaGN(NAMES, WIDTHS).tap(site)
    for i, parameter in enumerate(tap.double().parameters()):
        nn.init.normal_(parameter, generator=torch.Generator().manual_seed(i))
    return tap


EMB, H, SAID = drawn(2, EMBEDDING, seed=1), drawn(2, CHANNELS, 3, 4, seed=2), Stream(pooled=drawn(2, POOLED, seed=3))


def apart(found: Tensor, expected: Tensor) -> float:
    return float(((found - expected).abs().max() / expected.abs().max()).detach())


def error_against_diffusers() -> float:
    """What stands between the second normalisation and the second SiLU of diffusers' ADM block, told time plus class."""
    resnet = pytest.importorskip("diffusers.models.resnet")
    tap = opened()
    block = resnet.ResnetBlock2D(
        in_channels=CHANNELS, temb_channels=EMBEDDING, groups=4, time_embedding_norm="scale_shift"
    ).double()
    block.time_emb_proj.load_state_dict(tap.project.state_dict())
    seen: dict[str, Tensor] = {}
    block.norm2.register_forward_hook(lambda *call: seen.update(normed=call[2]))
    block.conv2.register_forward_pre_hook(lambda *call: seen.update(activated=call[1][0]))
    with torch.no_grad():
        block(H, EMB + tap.told(SAID.pooled))
        found = tap(seen["normed"], tap.prepare(SAID), EMB)
        return apart(found.sigmoid() * found, seen["activated"])


def test_it_is_what_diffusers_computes() -> None:
    assert error_against_diffusers() <= TOLERANCE


@pytest.mark.parametrize("layout", ["map", "tokens", "vector"])
def test_it_is_the_papers_formula_number_by_number(layout: Any) -> None:
    """AdaGN(h, y) = y_s h + y_b, sample by sample and channel by channel, y_s = 1 + s."""
    tap = opened(Site("norm", "norm", layout, CHANNELS, 1, EMBEDDING))
    h = {"map": H, "tokens": H.flatten(2).mT.contiguous(), "vector": H[..., 0, 0]}[layout]
    found = tap(h, tap.prepare(SAID), EMB)
    assert SAID.pooled is not None
    for sample in range(2):
        joint = EMB[sample] + tap.told.weight @ SAID.pooled[sample] + tap.told.bias
        y = tap.project.weight @ (joint / (1 + (-joint).exp())) + tap.project.bias
        for channel in range(CHANNELS):
            at = (sample, ..., channel) if layout == "tokens" else (sample, channel)
            torch.testing.assert_close(found[at], (1 + y[channel]) * h[at] + y[CHANNELS + channel], rtol=1e-12, atol=1e-12)


def deaf(tap: AdaGNTap, *streams: Stream) -> Tensor:
    return PREPARE(tap, *[Stream(pooled=torch.zeros_like(stream.pooled)) for stream in streams])  # pyright: ignore[reportArgumentType]


def timeless(tap: AdaGNTap, h: Tensor, signal: Tensor, emb: Tensor) -> Tensor:
    return FORWARD(tap, h, signal, torch.zeros_like(emb))


def one_by_one(tap: AdaGNTap, h: Tensor, signal: Tensor, emb: Tensor) -> Tensor:
    """Time and condition each by itself: SiLU of each instead of SiLU of the sum."""
    silu = nn.functional.silu
    scale, shift = tap.project(silu(emb) + silu(signal))[..., None, None].chunk(2, dim=1)
    return h * (1 + scale) + shift


def shift_first(tap: AdaGNTap, h: Tensor, signal: Tensor, emb: Tensor) -> Tensor:
    shift, scale = tap.project(nn.functional.silu(emb + signal))[..., None, None].chunk(2, dim=1)
    return h * (1 + scale) + shift


FORWARD, PREPARE = AdaGNTap.forward, AdaGNTap.prepare
MUTANTS: list[tuple[str, Callable[..., Any]]] = [
    ("prepare", deaf),
    ("forward", timeless),
    ("forward", one_by_one),
    ("forward", shift_first),
]


@pytest.mark.parametrize(("method", "mutant"), MUTANTS, ids=[mutant.__name__ for _, mutant in MUTANTS])
def test_a_mutant_is_killed(method: str, mutant: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AdaGNTap, method, mutant)
    assert error_against_diffusers() > 1e-3


def test_the_time_changes_what_the_condition_does() -> None:
    """The two meet before the SiLU, so what a condition adds to h differs from step to step; film's does not."""
    tap = opened()
    other = Stream(pooled=drawn(2, POOLED, seed=9))
    added = [tap(H, tap.prepare(SAID), emb) - tap(H, tap.prepare(other), emb) for emb in (EMB, drawn(2, EMBEDDING, seed=8))]
    assert apart(added[0], added[1]) > 1e-2


def test_at_birth_it_is_the_identity() -> None:
    tap = AdaGN(NAMES, WIDTHS).tap(SITE)
    assert tap is not None
    assert torch.equal(tap.double()(H, tap.prepare(SAID), EMB), H)


def test_only_norm_sites() -> None:
    taken = [kind for kind in ("input", "embed", "norm", "attend", "sequence", "branch", "skip") if filled(kind)]
    assert taken == ["norm"]


def filled(kind: Any) -> bool:
    return AdaGN(NAMES, WIDTHS).tap(Site("a", kind, "tokens", 12, 1, 16)) is not None


@pytest.mark.parametrize(
    ("streams", "widths", "text"),
    [
        (("text",), (Widths(tokens=8),), "adagn needs pooled, but stream 'text' offers tokens of width 8"),
        (("map",), (Widths(spatial=2),), "adagn needs pooled, but stream 'map' offers spatial of width 2"),
        (("a", "b"), WIDTHS * 2, r"adagn reads exactly one stream; got 2 \('a', 'b'\); expected one entry a stream, or one"),
        ((), (), r"adagn reads exactly one stream; got 0 \(none\)"),
    ],
)
def test_refusals(streams: Any, widths: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        AdaGN(streams, widths)


def test_a_stream_that_came_without_its_pooled_vector_is_refused() -> None:
    with pytest.raises(ValueError, match="the stream has no pooled vector, though its encoder declared a width for one"):
        opened().prepare(Stream(tokens=drawn(2, 3, 5)))
