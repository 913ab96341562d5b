"""film_gain: a gain and nothing else, in closed form, and mutants that the closed form kills."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from cdkit.parts import Site, Stream, Widths
from cdkit_injectors.film import Film
from cdkit_injectors.film_gain import FilmGain, FilmGainTap
from torch import Tensor, nn

CHANNELS, POOLED = 8, 6
NAMES, WIDTHS = ("text",), (Widths(tokens=5, pooled=POOLED),)
SITE = Site("mid.norm", "norm", "map", CHANNELS, 1, 16)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def opened(site: Site = SITE) -> Any:
    tap: Any = FilmGain(NAMES, WIDTHS).tap(site)
    for i, parameter in enumerate(tap.double().parameters()):
        nn.init.normal_(parameter, generator=torch.Generator().manual_seed(i))
    return tap


EMB, H, SAID = drawn(2, 16, seed=1), drawn(2, CHANNELS, 3, 4, seed=2), Stream(pooled=drawn(2, POOLED, seed=3))


def error_by_hand(site: Site = SITE, h: Tensor = H) -> float:
    """Channel by channel: h (1 + gain · Σ_p w_p c_p)."""
    tap = opened(site)
    assert SAID.pooled is not None
    with torch.no_grad():
        found = tap(h, tap.prepare(SAID), EMB)
        expected = h.clone()
        for sample in range(2):
            for channel in range(CHANNELS):
                gain = tap.gain[0] * sum(tap.project.weight[channel, p] * SAID.pooled[sample, p] for p in range(POOLED))
                expected[(sample, ..., channel) if site.layout == "tokens" else (sample, channel)] *= 1 + gain
        return float((found - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize("layout", ["map", "tokens", "vector"])
def test_it_is_a_gain(layout: Any) -> None:
    h = {"map": H, "tokens": H.flatten(2).mT.contiguous(), "vector": H[..., 0, 0]}[layout]
    assert error_by_hand(Site("mid.norm", "norm", layout, CHANNELS, 1, 16), h) <= 1e-14


def deaf(tap: FilmGainTap, *streams: Stream) -> Tensor:
    return PREPARE(tap, *[Stream(pooled=torch.ones_like(stream.pooled)) for stream in streams])  # pyright: ignore[reportArgumentType]


def shifting(tap: FilmGainTap, h: Tensor, signal: Tensor, emb: Tensor) -> Tensor:
    return FORWARD(tap, h, signal, emb) + signal[..., None, None]


def replacing(tap: FilmGainTap, h: Tensor, signal: Tensor, emb: Tensor) -> Tensor:
    """The gain instead of 1 + the gain."""
    return FORWARD(tap, h, signal, emb) - h


def ungained(tap: FilmGainTap, *streams: Stream) -> Tensor:
    return PREPARE(tap, *streams) / tap.gain


PREPARE, FORWARD = FilmGainTap.prepare, FilmGainTap.forward
MUTANTS: list[tuple[str, Callable[..., Any]]] = [
    ("prepare", deaf),
    ("prepare", ungained),
    ("forward", shifting),
    ("forward", replacing),
]


@pytest.mark.parametrize(("method", "mutant"), MUTANTS, ids=[mutant.__name__ for _, mutant in MUTANTS])
def test_a_mutant_is_killed(method: str, mutant: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FilmGainTap, method, mutant)
    assert error_by_hand() > 1e-3


def test_a_feature_that_is_zero_stays_zero() -> None:
    """What tells a gain from a shift: film moves such a feature, this one cannot."""
    tap, film = opened(), Film(NAMES, WIDTHS).tap(SITE)
    assert film is not None
    for parameter in film.double().parameters():
        nn.init.normal_(parameter, generator=torch.Generator().manual_seed(5))
    dark = H.masked_fill(H < 0, 0)
    assert not tap(dark, tap.prepare(SAID), EMB)[H < 0].any()
    assert film(dark, film.prepare(SAID), EMB)[H < 0].all()


def test_zeros_say_nothing() -> None:
    tap = opened()
    assert torch.equal(tap(H, tap.prepare(Stream(pooled=torch.zeros(2, POOLED, dtype=torch.float64))), EMB), H)


def test_at_birth_it_is_the_identity_by_one_number_alone() -> None:
    tap: Any = FilmGain(NAMES, WIDTHS).tap(SITE)
    assert torch.equal(tap.double()(H, tap.prepare(SAID), EMB), H)
    assert {name: tuple(value.shape) for name, value in tap.named_parameters() if not value.any()} == {"gain": (1,)}
    nn.init.ones_(tap.gain)
    assert not torch.equal(tap(H, tap.prepare(SAID), EMB), H)


def test_only_norm_sites() -> None:
    kinds: Any = ("input", "embed", "norm", "attend", "sequence", "branch", "skip")
    injector = FilmGain(NAMES, WIDTHS)
    assert [kind for kind in kinds if injector.tap(Site("a", kind, "tokens", 12, 1, 16)) is not None] == ["norm"]


@pytest.mark.parametrize(
    ("streams", "widths", "text"),
    [
        (("text",), (Widths(tokens=8),), "film_gain needs pooled, but stream 'text' offers tokens of width 8"),
        (("a", "b"), WIDTHS * 2, r"film_gain reads exactly one stream; got 2 \('a', 'b'\); expected one entry a stream"),
        ((), (), r"film_gain reads exactly one stream; got 0 \(none\)"),
    ],
)
def test_refusals(streams: Any, widths: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        FilmGain(streams, widths)


def test_a_stream_that_came_without_its_pooled_vector_is_refused() -> None:
    with pytest.raises(ValueError, match="the stream has no pooled vector, though its encoder declared a width for one"):
        opened().prepare(Stream(tokens=drawn(2, 3, 5)))
