"""hypernet: the promises of a method, a convolution written out place by place, and mutants that it kills."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib.metadata import requires
from typing import Any

import pytest
import torch
from cdkit.parts import Site, Stream, Widths
from cdkit.testing import EVERY_FORM, check_injector
from cdkit_hypernet.hypernet import Hypernet, HypernetTap
from torch import Tensor, nn

CHANNELS, POOLED, WORDS = 4, 6, 5
SITE = Site("mid.norm", "norm", "map", CHANNELS, 1, 16)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


H, EMB = drawn(3, CHANNELS, 5, 6, seed=1), drawn(3, 16, seed=2)
MASK = torch.arange(WORDS) < torch.tensor([[5], [2], [0]])
SAID = {"pooled": Stream(pooled=drawn(3, POOLED, seed=3)), "tokens": Stream(tokens=drawn(3, WORDS, POOLED, seed=4), mask=MASK)}
OFFERED = {"pooled": Widths(pooled=POOLED), "tokens": Widths(tokens=POOLED)}


@pytest.mark.parametrize("widths", [EVERY_FORM, Widths(tokens=8), Widths(pooled=6)], ids=["every form", "words", "pooled"])
@pytest.mark.parametrize("options", [{}, {"size": 5, "hidden": 7}], ids=["default", "larger"])
def test_it_keeps_the_promises_of_a_method(widths: Widths, options: Any) -> None:
    check_injector(partial(Hypernet, **options), widths=(widths,))


def opened(form: str, size: Any) -> Any:
    tap: Any = Hypernet(("text",), (OFFERED[form],), size=size).tap(SITE)
    for i, parameter in enumerate(tap.double().parameters()):
        nn.init.normal_(parameter, std=0.3, generator=torch.Generator().manual_seed(i))
    return tap


def kernels(tap: Any, form: str, size: int) -> list[Tensor]:
    """What each sample's condition writes, (C, size, size); zero where no word counts."""
    written: list[Tensor] = []
    for sample in range(len(H)):
        stream = SAID[form]
        if form == "pooled":
            assert stream.pooled is not None
            said = stream.pooled[sample]
        else:
            assert stream.tokens is not None
            words = stream.tokens[sample, MASK[sample]]
            if not len(words):
                written.append(torch.zeros(CHANNELS, size, size, dtype=torch.float64))
                continue
            said = words.mean(dim=0)
        inside = tap.read.weight @ said + tap.read.bias
        inside = inside / (1 + torch.exp(-inside))
        written.append((tap.write.weight @ inside + tap.write.bias).reshape(CHANNELS, size, size))
    return written


def by_hand(tap: Any, form: str, size: int) -> Tensor:
    """h and what its neighbours within the kernel add, one place at a time; nothing lies beyond the border."""
    rows, columns = H.shape[2:]
    out, reach = H.clone(), size // 2
    for sample, kernel in enumerate(kernels(tap, form, size)):
        for row in range(rows):
            for column in range(columns):
                for i in range(-reach, reach + 1):
                    for j in range(-reach, reach + 1):
                        if 0 <= row + i < rows and 0 <= column + j < columns:
                            near = H[sample, :, row + i, column + j]
                            out[sample, :, row, column] += kernel[:, reach + i, reach + j] * near
    return out


def error_by_hand(form: str = "pooled", size: int = 3) -> float:
    tap = opened(form, size)
    with torch.no_grad():
        expected = by_hand(tap, form, size)
        found = tap(H, tap.prepare(SAID[form]), EMB)
    return float((found - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize("form", ["pooled", "tokens"])
@pytest.mark.parametrize("size", [3, 5])
def test_it_convolves_with_what_the_condition_writes(form: str, size: int) -> None:
    assert error_by_hand(form, size) <= 1e-13


def deaf(tap: HypernetTap, *streams: Stream) -> Tensor:
    return PREPARE(tap, Stream(pooled=torch.zeros_like(streams[0].pooled)))  # pyright: ignore[reportArgumentType]


def common(tap: HypernetTap, *streams: Stream) -> Tensor:
    """One kernel for all samples: the first one's."""
    signal = PREPARE(tap, *streams)
    return signal[:1].expand_as(signal)


def transposed(tap: HypernetTap, *streams: Stream) -> Tensor:
    return PREPARE(tap, *streams).mT


def replacing(tap: HypernetTap, h: Tensor, signal: Tensor, emb: Tensor) -> Tensor:
    return FORWARD(tap, h, signal, emb) - h


def shared(tap: HypernetTap, h: Tensor, signal: Tensor, emb: Tensor) -> Tensor:
    """One kernel for all channels."""
    return FORWARD(tap, h, signal[:, :1].expand_as(signal), emb)


PREPARE, FORWARD = HypernetTap.prepare, HypernetTap.forward
MUTANTS: list[tuple[str, Callable[..., Any]]] = [
    ("prepare", deaf),
    ("prepare", common),
    ("prepare", transposed),
    ("forward", replacing),
    ("forward", shared),
]


@pytest.mark.parametrize(("method", "mutant"), MUTANTS, ids=[mutant.__name__ for _, mutant in MUTANTS])
def test_a_mutant_is_killed(method: str, mutant: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HypernetTap, method, mutant)
    assert error_by_hand() > 1e-3


def test_the_kit_kills_the_mutant_that_ignores_the_condition(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HypernetTap, "prepare", deaf)
    with pytest.raises(AssertionError, match=r"^learns: told otherwise after one step of descent"):
        check_injector(Hypernet)


def test_its_price() -> None:
    tap: Any = Hypernet(("text",), (OFFERED["pooled"],), size=5, hidden=7).tap(SITE)
    assert sum(parameter.numel() for parameter in tap.parameters()) == 7 * (POOLED + 1) + CHANNELS * 25 * (7 + 1)


def test_only_norms_of_maps() -> None:
    injector = Hypernet(("text",), (OFFERED["pooled"],))
    kinds: Any = ("input", "embed", "norm", "attend", "sequence", "branch", "skip")
    layouts: Any = ("map", "tokens", "vector")
    taken = [
        (kind, layout) for kind in kinds for layout in layouts if injector.tap(Site("a", kind, layout, 8, 1, 16)) is not None
    ]
    assert taken == [("norm", "map")]


@pytest.mark.parametrize(
    ("streams", "widths", "text"),
    [
        (("a", "b"), (Widths(tokens=8),) * 2, r"hypernet reads exactly one stream; got 2 \('a', 'b'\)"),
        (("map",), (Widths(spatial=3),), "hypernet needs pooled or tokens, but stream 'map' offers"),
    ],
)
def test_refusals(streams: Any, widths: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        Hypernet(streams, widths)


def test_streams_that_break_their_promise_are_refused() -> None:
    with pytest.raises(ValueError, match="the stream has no pooled, though its encoder declared a width"):
        opened("pooled", 3).prepare(SAID["tokens"])
    tokens = SAID["tokens"].tokens
    with pytest.raises(ValueError, match=r"a mask must be bool \(3, 5\); got torch.int64"):
        opened("tokens", 3).prepare(Stream(tokens=tokens, mask=MASK.long()))


def test_its_metadata_leaves_torch_to_cdkit() -> None:
    asked = requires("cdkit-hypernet") or []
    assert any(line.replace(" ", "") in ("cdkit<0.2,>=0.1", "cdkit>=0.1,<0.2") for line in asked)
    assert not any(line.startswith("torch") for line in asked)
