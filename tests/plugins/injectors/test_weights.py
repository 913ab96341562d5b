"""weights: one matrix a sample, written out and multiplied place by place, and mutants that it kills."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from cdkit.parts import Site, Stream, Widths
from cdkit_injectors.weights import Weights, WeightsTap
from torch import Tensor, nn

CHANNELS, POOLED, RANK = 8, 6, 3
NAMES, WIDTHS = ("text",), (Widths(tokens=5, pooled=POOLED),)
SITE = Site("mid.norm", "norm", "map", CHANNELS, 1, 16)
EPSILON = 1e-5  # torch's layer_norm


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def opened(site: Site = SITE, rank: int = RANK) -> Any:
    tap: Any = Weights(NAMES, WIDTHS, rank=rank).tap(site)
    for i, parameter in enumerate(tap.double().parameters()):
        nn.init.normal_(parameter, generator=torch.Generator().manual_seed(i))
    return tap


EMB, H, SAID = drawn(2, 16, seed=1), drawn(2, CHANNELS, 3, 4, seed=2), Stream(pooled=drawn(2, POOLED, seed=3))
LAYOUTS = {"map": H, "tokens": H.flatten(2).mT.contiguous(), "vector": H[..., 0, 0]}


def matrix(tap: Any, pooled: Tensor) -> Tensor:
    """What one sample's condition writes: (C, C)."""
    u = (tap.to_u.weight @ pooled + tap.to_u.bias).reshape(CHANNELS, -1)
    v = (tap.to_v.weight @ pooled + tap.to_v.bias).reshape(CHANNELS, -1)
    return sum(torch.outer(a, b) for a, b in zip(u.T, v.T, strict=True)) / CHANNELS**0.5  # pyright: ignore[reportReturnType]


def error_by_hand(layout: Any = "map", rank: int = RANK) -> float:
    tap, h = opened(Site("a", "norm", layout, CHANNELS, 1, 16), rank), LAYOUTS[layout]
    assert SAID.pooled is not None
    with torch.no_grad():
        found = places(layout, tap(h, tap.prepare(SAID), EMB))
        expected = places(layout, h).clone()
        for sample, vectors in enumerate(expected):
            written = matrix(tap, SAID.pooled[sample])
            for place, vector in enumerate(vectors):
                normed = (vector - vector.mean()) / (vector.var(unbiased=False) + EPSILON).sqrt()
                expected[sample, place] = vector + written @ normed
        return float((found - expected).abs().max() / expected.abs().max())


def places(layout: str, h: Tensor) -> Tensor:
    """(B, places, C)."""
    if layout == "map":
        return torch.stack([h[:, :, row, column] for row in range(h.shape[2]) for column in range(h.shape[3])], dim=1)
    return h if layout == "tokens" else h[:, None]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("rank", [1, RANK, CHANNELS + 1])
def test_it_multiplies_by_the_matrix_that_the_condition_writes(layout: str, rank: int) -> None:
    assert error_by_hand(layout, rank) <= 1e-13


def deaf(tap: WeightsTap, *streams: Stream) -> Any:
    return PREPARE(tap, *[Stream(pooled=torch.zeros_like(stream.pooled)) for stream in streams])  # pyright: ignore[reportArgumentType]


def common(tap: WeightsTap, *streams: Stream) -> Any:
    """One matrix for all samples: the first one's."""
    return tuple(made[:1].expand_as(made) for made in PREPARE(tap, *streams))


def transposed(tap: WeightsTap, *streams: Stream) -> Any:
    return PREPARE(tap, *streams)[::-1]


def unnormed(tap: WeightsTap, h: Tensor, signal: Any, emb: Tensor) -> Tensor:
    del tap, emb
    u, v = signal
    return h + torch.einsum("bchw,bcr,bdr->bdhw", h, v, u) / CHANNELS**0.5


def replacing(tap: WeightsTap, h: Tensor, signal: Any, emb: Tensor) -> Tensor:
    return FORWARD(tap, h, signal, emb) - h


PREPARE, FORWARD = WeightsTap.prepare, WeightsTap.forward
MUTANTS: list[tuple[str, Callable[..., Any]]] = [
    ("prepare", deaf),
    ("prepare", common),
    ("prepare", transposed),
    ("forward", unnormed),
    ("forward", replacing),
]


@pytest.mark.parametrize(("method", "mutant"), MUTANTS, ids=[mutant.__name__ for _, mutant in MUTANTS])
def test_a_mutant_is_killed(method: str, mutant: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(WeightsTap, method, mutant)
    assert error_by_hand() > 1e-3


@pytest.mark.parametrize("rank", [1, 2, 5])
def test_its_map_has_the_rank_that_was_asked_for(rank: int) -> None:
    """Many places of one sample: what is added to them spans `rank` directions."""
    tap = opened(Site("a", "norm", "tokens", CHANNELS, 1, 16), rank)
    many = drawn(2, 50, CHANNELS, seed=7)
    added = (tap(many, tap.prepare(SAID), EMB) - many).detach()
    assert torch.linalg.matrix_rank(added, rtol=1e-9).tolist() == [rank, rank]


def test_at_birth_it_is_the_identity() -> None:
    tap: Any = Weights(NAMES, WIDTHS).tap(SITE)
    assert torch.equal(tap.double()(H, tap.prepare(SAID), EMB), H)
    assert not tap.to_u.weight.any()
    assert tap.to_v.weight.all()


def test_its_price() -> None:
    tap = opened(rank=RANK)
    assert sum(parameter.numel() for parameter in tap.parameters()) == 2 * CHANNELS * RANK * (POOLED + 1)


@pytest.mark.parametrize("at", ["norm", "branch"])
def test_only_sites_of_its_kind(at: Any) -> None:
    kinds: Any = ("input", "embed", "norm", "attend", "sequence", "branch", "skip")
    injector = Weights(NAMES, WIDTHS, at=at)
    assert [kind for kind in kinds if injector.tap(Site("a", kind, "tokens", 12, 1, 16)) is not None] == [at]


@pytest.mark.parametrize(
    ("streams", "widths", "text"),
    [
        (("text",), (Widths(tokens=8),), "weights needs pooled, but stream 'text' offers tokens of width 8"),
        (("a", "b"), WIDTHS * 2, r"weights reads exactly one stream; got 2 \('a', 'b'\); expected one entry a stream"),
        ((), (), r"weights reads exactly one stream; got 0 \(none\)"),
    ],
)
def test_refusals(streams: Any, widths: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        Weights(streams, widths)


def test_a_stream_that_came_without_its_pooled_vector_is_refused() -> None:
    with pytest.raises(ValueError, match="the stream has no pooled vector, though its encoder declared a width for one"):
        opened().prepare(Stream(tokens=drawn(2, 3, 5)))
