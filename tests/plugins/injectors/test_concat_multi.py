"""concat_multi: h plus the convolution of [h, map], at every level's size; and mutants that this kills."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from cdkit.parts import SampleShape, Site, Stream, Widths
from cdkit_injectors.concat_multi import ConcatMulti, ConcatTap
from cdkit_unet.unet import UNet
from torch import Tensor, nn

C, K, STRIDE = 6, 2, 2
NAMES, WIDTHS = ("layout",), (Widths(spatial=K),)
BRANCH = Site("down.1.res.0.branch", "branch", "map", C, STRIDE, 16)
TOLERANCE = 1e-12


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


EMB, H, MAP = drawn(2, 16), drawn(2, C, 3, 4, seed=3), Stream(spatial=drawn(2, K, 6, 8, seed=4))


def made(**options: Any) -> Any:
    tap: Any = ConcatMulti(NAMES, WIDTHS, **options).tap(BRANCH)
    for i, parameter in enumerate(tap.double().parameters()):
        nn.init.normal_(parameter, generator=torch.Generator().manual_seed(i))
    return tap


def by_hand(tap: Any, resize: str) -> Tensor:
    """One kernel over the channels of both, pixel by pixel."""
    assert MAP.spatial is not None
    corners = torch.stack([MAP.spatial[:, :, y::STRIDE, x::STRIDE] for y in range(STRIDE) for x in range(STRIDE)])
    both = torch.cat([H, corners[0] if resize == "nearest" else corners.mean(0)], dim=1)
    kernel = torch.cat([tap.of_h.weight, tap.of_map.weight], dim=1)
    padded = both.new_zeros(2, C + K, 5, 6)
    padded[:, :, 1:-1, 1:-1] = both
    out = H + tap.of_map.bias[:, None, None]
    for y in range(3):
        for x in range(3):
            out = out + torch.einsum("oi,bihw->bohw", kernel[:, :, y, x], padded[:, :, y : y + 3, x : x + 4])
    return out


@torch.no_grad()
def error(resize: Any = "area") -> float:
    tap = made(resize=resize)
    return apart(tap(H, tap.prepare(MAP), EMB), by_hand(tap, resize))


def apart(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize("resize", ["nearest", "area"])
def test_it_is_the_convolution_of_the_concatenation(resize: str) -> None:
    assert error(resize) <= TOLERANCE


def ignores_map(tap: ConcatTap, *streams: Stream) -> Any:
    return PREPARE(tap, Stream(spatial=torch.zeros_like(streams[0].spatial)))  # pyright: ignore[reportArgumentType]


def mirrored(tap: ConcatTap, *streams: Stream) -> Any:
    return PREPARE(tap, Stream(spatial=streams[0].spatial.flip(3)))  # pyright: ignore[reportOptionalMemberAccess]


def ignores_h(tap: ConcatTap, h: Tensor, signal: Tensor, emb: Tensor) -> Tensor:
    del tap, emb
    return h + signal


def replaces_h(tap: ConcatTap, h: Tensor, signal: Tensor, emb: Tensor) -> Tensor:
    return FORWARD(tap, h, signal, emb) - h


FORWARD, PREPARE = ConcatTap.forward, ConcatTap.prepare
MUTANTS: list[tuple[str, Callable[..., Any]]] = [
    ("prepare", ignores_map),
    ("prepare", mirrored),
    ("forward", ignores_h),
    ("forward", replaces_h),
]


@pytest.mark.parametrize(("method", "mutant"), MUTANTS, ids=[mutant.__name__ for _, mutant in MUTANTS])
def test_a_mutant_is_killed(method: str, mutant: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ConcatTap, method, mutant)
    assert error() > 1e-3


def test_at_birth_it_is_the_identity() -> None:
    tap = ConcatMulti(NAMES, WIDTHS).tap(BRANCH)
    assert tap is not None
    assert torch.equal(tap.double()(H, tap.prepare(MAP), EMB), H)


def test_every_level_is_told() -> None:
    """Every residual block of the U-Net, and so every resolution, on the way down and up."""
    taken: list[Site] = []

    class Slot(nn.Module):
        def __init__(self, site: Site) -> None:
            super().__init__()
            if ConcatMulti(NAMES, WIDTHS).tap(site) is not None:
                taken.append(site)

    UNet(Slot, SampleShape(1, 8, 8), width=16, mult=(1, 2, 2), blocks=1, attention=(1,), heads=2)
    assert {(site.name.split(".")[0], site.stride) for site in taken} == {
        ("down", 1),
        ("down", 2),
        ("down", 4),
        ("mid", 4),
        ("up", 4),
        ("up", 2),
        ("up", 1),
    }
    assert {site.kind for site in taken} == {"branch"}


@pytest.mark.parametrize(
    "site",
    [
        Site("b", "branch", "tokens", C, 2, 16),
        Site("n", "norm", "map", C, 2, 16),
        Site("i", "input", "map", C, 1, 16),
    ],
    ids=lambda site: f"{site.kind} {site.layout}",
)
def test_it_takes_no_other_place(site: Site) -> None:
    assert ConcatMulti(NAMES, WIDTHS).tap(site) is None


@pytest.mark.parametrize(
    ("streams", "widths", "text"),
    [
        (("text",), (Widths(pooled=8),), "concat_multi needs spatial, but stream 'text' offers pooled of width 8"),
        ((), (), r"concat_multi reads exactly one stream; got 0 \(none\)"),
    ],
)
def test_refusals(streams: Any, widths: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        ConcatMulti(streams, widths)


@pytest.mark.parametrize(
    ("size", "text"),
    [
        ((6, 4), "the map is 6 x 4, but the picture is 6 x 8; give one of its size"),
        ((6, 7), r"a map of 6 x 7 has no whole number of rows and columns at down.1.res.0.branch, .* expected multiples of 2"),
    ],
)
def test_a_map_of_another_size_is_refused(size: tuple[int, int], text: str) -> None:
    tap = made()
    with pytest.raises(ValueError, match=text):
        tap(H, tap.prepare(Stream(spatial=drawn(2, K, *size))), EMB)


def test_both_kernels_may_be_adapted() -> None:
    assert set(made().adaptable()) == {"of_h", "of_map"}
