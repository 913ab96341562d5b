"""spade: the paper's equation 1 place by place, its maps at every level's size, and mutants that the equation kills."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from cdkit.build.mount import Mounted, Mounting
from cdkit.parts import SampleShape, Site, Stream, Widths
from cdkit_injectors.spade import Spade, SpadeTap
from cdkit_unet.unet_classic import UNetClassic
from torch import Tensor, nn

C, K, HIDDEN, STRIDE = 6, 2, 5, 2
NAMES, WIDTHS = ("layout",), (Widths(spatial=K),)
NORM = Site("down.1.res.0.norm1", "norm", "map", C, STRIDE, 16)
TOLERANCE = 1e-12


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


EMB, H, MAP = drawn(2, 16), drawn(2, C, 3, 4, seed=3), Stream(spatial=drawn(2, K, 6, 8, seed=4))


def made(**options: Any) -> Any:
    tap: Any = Spade(NAMES, WIDTHS, hidden=HIDDEN, **options).tap(NORM)
    for i, parameter in enumerate(tap.double().parameters()):
        nn.init.normal_(parameter, generator=torch.Generator().manual_seed(i))
    return tap


def convolved(conv: nn.Conv2d, told: Tensor) -> Tensor:
    """A 3 x 3 convolution of one sample (K, H, W), padded with zeros, pixel by pixel."""
    _, rows, columns = told.shape
    padded = told.new_zeros(len(told), rows + 2, columns + 2)
    padded[:, 1:-1, 1:-1] = told
    at = [(padded[None, :, y : y + 3, x : x + 3] * conv.weight).sum((1, 2, 3)) for y in range(rows) for x in range(columns)]
    assert conv.bias is not None
    return torch.stack(at, dim=1).view(-1, rows, columns) + conv.bias[:, None, None]


def resized(told: Tensor, resize: str) -> Tensor:
    """(K, 2 H, 2 W) -> (K, H, W): the first of four, or their mean."""
    corners = torch.stack([told[:, y::STRIDE, x::STRIDE] for y in range(STRIDE) for x in range(STRIDE)])
    return corners[0] if resize == "nearest" else corners.mean(0)


def by_hand(tap: Any, row: int, resize: str) -> Tensor:
    assert MAP.spatial is not None
    shared = convolved(tap.shared, resized(MAP.spatial[row], resize)).clamp_min(0)
    gamma, beta = convolved(tap.gamma, shared), convolved(tap.beta, shared)
    return (1 + gamma) * H[row] + beta


@torch.no_grad()
def error(resize: Any = "nearest") -> float:
    tap = made(resize=resize)
    return apart(tap(H, tap.prepare(MAP), EMB), torch.stack([by_hand(tap, row, resize) for row in range(2)]))


def apart(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize("resize", ["nearest", "area"])
def test_it_is_the_papers_equation(resize: str) -> None:
    assert error(resize) <= TOLERANCE


@torch.no_grad()
def test_normalised_features_are_denormalised_by_the_map() -> None:
    """Equation 1 whole: with a normalisation before it, γ' (h - μ) / σ + β, where γ' is one more than γ."""
    tap, norm = made(), nn.InstanceNorm2d(C, eps=0.0).double()
    raw = drawn(2, C, 3, 4, seed=8) * 3 + 1
    mean, deviation = raw.mean((2, 3), keepdim=True), raw.var((2, 3), keepdim=True, unbiased=False).sqrt()
    gamma, beta = tap.prepare(MAP)
    assert apart(tap(norm(raw), (gamma, beta), EMB), (1 + gamma) * (raw - mean) / deviation + beta) <= 1e-10


def ignores_map(tap: SpadeTap, *streams: Stream) -> Any:
    return PREPARE(tap, Stream(spatial=torch.zeros_like(streams[0].spatial)))  # pyright: ignore[reportArgumentType]


def one_value_everywhere(tap: SpadeTap, *streams: Stream) -> Any:
    """A vector in place of a map, as `film` has it."""
    return tuple(part.mean((2, 3), keepdim=True).expand_as(part) for part in PREPARE(tap, *streams))


def swapped(tap: SpadeTap, *streams: Stream) -> Any:
    return PREPARE(tap, *streams)[::-1]


def transposed(tap: SpadeTap, *streams: Stream) -> Any:
    return PREPARE(tap, Stream(spatial=streams[0].spatial.flip(3)))  # pyright: ignore[reportOptionalMemberAccess]


def no_shift(tap: SpadeTap, h: Tensor, signal: Any, emb: Tensor) -> Tensor:
    return FORWARD(tap, h, (signal[0], torch.zeros_like(signal[1])), emb)


FORWARD, PREPARE = SpadeTap.forward, SpadeTap.prepare
MUTANTS: list[tuple[str, Callable[..., Any]]] = [
    ("prepare", ignores_map),
    ("prepare", one_value_everywhere),
    ("prepare", swapped),
    ("prepare", transposed),
    ("forward", no_shift),
]


@pytest.mark.parametrize(("method", "mutant"), MUTANTS, ids=[mutant.__name__ for _, mutant in MUTANTS])
def test_a_mutant_is_killed(method: str, mutant: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SpadeTap, method, mutant)
    assert error() > 1e-3


def test_at_birth_it_is_the_identity() -> None:
    tap = Spade(NAMES, WIDTHS).tap(NORM)
    assert tap is not None
    assert torch.equal(tap.double()(H, tap.prepare(MAP), EMB), H)


@torch.no_grad()
def test_a_label_stays_a_label() -> None:
    """Nearest makes no new value; the mean does, and loses nothing thin."""
    told = torch.zeros(2, K, 6, 8, dtype=torch.float64)
    told[:, :, 1] = 1  # one row, between those that nearest takes
    nearest, area = made(resize="nearest"), made(resize="area")
    nothing = Stream(spatial=torch.zeros_like(told))
    assert torch.equal(nearest.prepare(Stream(spatial=told))[0], nearest.prepare(nothing)[0])
    assert apart(area.prepare(Stream(spatial=told))[0], area.prepare(nothing)[0]) > 1e-3


@pytest.mark.parametrize(
    "site",
    [
        Site("n", "norm", "tokens", C, 2, 16),
        Site("n", "norm", "vector", C, 1, 16),
        Site("b", "branch", "map", C, 2, 16),
        Site("a", "attend", "tokens", C, 2, 16),
    ],
    ids=lambda site: f"{site.kind} {site.layout}",
)
def test_it_takes_no_other_place(site: Site) -> None:
    assert Spade(NAMES, WIDTHS).tap(site) is None


@pytest.mark.parametrize(
    ("streams", "widths", "text"),
    [
        (("text",), (Widths(tokens=8),), "spade needs spatial, but stream 'text' offers tokens of width 8"),
        (("a", "b"), (*WIDTHS, *WIDTHS), r"spade reads exactly one stream; got 2 \('a', 'b'\)"),
    ],
)
def test_refusals(streams: Any, widths: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        Spade(streams, widths)


@pytest.mark.parametrize(
    ("size", "text"),
    [
        ((4, 8), "the map is 4 x 8, but the picture is 6 x 8; give one of its size"),
        ((5, 8), r"a map of 5 x 8 has no whole number of rows and columns at down.1.res.0.norm1, .* expected multiples of 2"),
    ],
)
def test_a_map_of_another_size_is_refused(size: tuple[int, int], text: str) -> None:
    tap = made()
    with pytest.raises(ValueError, match=text):
        tap(H, tap.prepare(Stream(spatial=drawn(2, K, *size))), EMB)


@torch.no_grad()
def test_where_the_picture_is_padded_the_map_is_padded_alike() -> None:
    """`unet_classic` puts 7 x 5 in the middle of 8 x 8; a map told there lies where the picture does."""
    site = Site("down.0.block1.norm1", "norm", "map", C, 1, 16, padded=4)
    tap: Any = Spade(NAMES, WIDTHS, hidden=HIDDEN).tap(site)
    for i, parameter in enumerate(tap.double().parameters()):
        nn.init.normal_(parameter, generator=torch.Generator().manual_seed(i))
    told = drawn(2, K, 7, 5)
    expected = torch.zeros(2, K, 8, 8, dtype=torch.float64)
    expected[:, :, :7, 1:6] = told  # one row below; of three columns one on the left
    assert all(
        torch.equal(a, b) for a, b in zip(tap.prepare(Stream(spatial=told)), tap.prepare(Stream(spatial=expected)), strict=True)
    )
    with pytest.raises(ValueError, match=r"the map is 8 x 8, but the picture is 12 x 8 \(both padded to multiples of 4\)"):
        tap(drawn(2, C, 12, 8), tap.prepare(Stream(spatial=told)), EMB)


@torch.no_grad()
def test_a_network_that_pads_is_told_at_every_level() -> None:
    mounting = Mounting({"layout": Mounted(Spade(NAMES, WIDTHS, hidden=HIDDEN))})
    network = UNetClassic(mounting, SampleShape(1, 7, 5), width=16, mult=(1, 2), heads=2, head_dim=4).eval()
    slots: dict[str, Any] = {name: slot for name, slot in mounting.slots.items() if "layout" in slot.taps}

    def told(seed: int) -> dict[str, dict[str, Any]]:
        stream = Stream(spatial=drawn(2, K, 7, 5, seed=seed).float())
        return {name: {"layout": slot.taps["layout"].prepare(stream)} for name, slot in slots.items()}

    x, t = drawn(2, 1, 7, 5).float(), torch.zeros(2)
    assert len(slots) == len([slot for slot in mounting.slots.values() if slot.site.kind == "norm"])
    assert torch.equal(network(x, t, told(1)), network(x, t, told(2)))  # new: the identity
    for slot in slots.values():
        nn.init.normal_(slot.taps["layout"].beta.weight)
    assert apart(network(x, t, told(1)), network(x, t, told(2))) > 1e-3


def test_a_stream_that_lost_its_map_is_told_so() -> None:
    with pytest.raises(ValueError, match="the stream has no map, though its encoder declared channels for one"):
        made().prepare(Stream(pooled=drawn(2, 6)))


def test_every_convolution_may_be_adapted() -> None:
    assert set(made().adaptable()) == {"shared", "gamma", "beta"}
