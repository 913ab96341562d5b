"""adaln_single: PixArt's block as diffusers has it, number for number; one MLP for all sites, held once; mutants it kills."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
import torch
from cdkit.parts import SampleShape, Site, SiteKind, Stream, Widths
from cdkit.testing import InjectorCase
from cdkit_dit.dit import DiT
from cdkit_injectors import adaln_single
from cdkit_injectors.adaln_single import AdaLNSingle, Shared, SingleTap
from cdkit_injectors.modulation import beside
from cdkit_unet.unet import UNet
from torch import Tensor, nn
from torch.nn import functional as F

CHANNELS, POOLED = 8, 6
NAMES, WIDTHS = ("text",), (Widths(tokens=5, pooled=POOLED),)
TOLERANCE = 1e-12


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def site(name: str, kind: SiteKind = "norm", channels: int = CHANNELS, **given: Any) -> Site:
    return Site(name, kind, given.get("layout", "tokens"), channels, 1, given.get("embedding", CHANNELS))


def opened(*sites: Site, **options: Any) -> list[Any]:
    """The taps of one injector at these sites, every parameter drawn."""
    injector = AdaLNSingle(NAMES, WIDTHS, **options)
    taps: Any = nn.ModuleList([injector.tap(place) or nn.Identity() for place in sites]).double()
    for i, parameter in enumerate(taps.parameters()):
        nn.init.normal_(parameter, generator=torch.Generator().manual_seed(i))
    return list(taps)


EMB, H, SAID = drawn(2, CHANNELS, seed=1), drawn(2, 5, CHANNELS, seed=2), Stream(pooled=drawn(2, POOLED, seed=3))


def apart(found: Tensor, expected: Tensor) -> float:
    return float(((found - expected).abs().max() / expected.abs().max()).detach())


# --------------------------------------------------------------------------- what it computes


def error_against_diffusers() -> float:
    """The attention half of diffusers' PixArt block, its six rows ours twice, with the gates' 1 taken into its table."""
    blocks = pytest.importorskip("diffusers.models.attention")
    norms = pytest.importorskip("diffusers.models.normalization")
    block = blocks.BasicTransformerBlock(
        CHANNELS, 2, 4, norm_type="ada_norm_single", norm_elementwise_affine=False, attention_bias=True
    ).double()
    single = norms.AdaLayerNormSingle(CHANNELS).double()
    norm, gate = opened(site("block.norm1"), site("block.branch1", "branch"))
    shared = norm.shared
    seen: dict[str, Tensor] = {}
    block.norm1.register_forward_hook(lambda *call: seen.update(normed=call[2]))
    block.attn1.register_forward_pre_hook(lambda *call: seen.update(asked=call[1][0]))
    block.attn1.register_forward_hook(lambda *call: seen.update(answer=call[2]))
    block.norm2.register_forward_pre_hook(lambda *call: seen.update(after=call[1][0]))
    with torch.no_grad():
        single.linear.weight.copy_(shared.make.weight.repeat(2, 1))
        single.linear.bias.copy_(shared.make.bias.repeat(2))
        block.scale_shift_table.copy_(torch.cat([norm.table, gate.table + 1]).repeat(2, 1))
        block(H, timestep=single.linear(single.silu(EMB + shared.told(SAID.pooled))))
        asked = norm(seen["normed"], norm.prepare(SAID), EMB)
        after = H + gate(seen["answer"], gate.prepare(SAID), EMB)
    return max(apart(asked, seen["asked"]), apart(after, seen["after"]))


WIDE = 12


def error_by_hand(layout: Any = "map") -> float:
    """A site wider than the shared rows, sample by sample: S_i = fit S + E_i."""
    first, norm, gate = opened(site("a"), site("b", "norm", WIDE, layout=layout), site("c", "branch", WIDE, layout=layout))
    shared, h = first.shared, {"map": drawn(2, WIDE, 3, 4), "tokens": drawn(2, 7, WIDE), "vector": drawn(2, WIDE)}[layout]
    assert SAID.pooled is not None
    errors = []
    with torch.no_grad():
        found, gated = (tap(h, tap.prepare(SAID), EMB) for tap in (norm, gate))
        for sample in range(2):
            joint = EMB[sample] + shared.told.weight @ SAID.pooled[sample] + shared.told.bias
            rows = (shared.make.weight @ (joint * joint.sigmoid()) + shared.make.bias).split(CHANNELS)
            fitted = [shared.fits[str(WIDE)].weight @ row for row in rows]
            shift, scale = (said + own for said, own in zip(fitted[:2], norm.table, strict=True))
            vectors = (h[sample] if layout == "tokens" else h[sample].reshape(WIDE, -1).T).reshape(-1, WIDE)
            expected = vectors * (1 + scale) + shift
            errors.append(apart(as_vectors(found[sample], layout), expected))
            errors.append(apart(as_vectors(gated[sample], layout), vectors * (1 + fitted[2] + gate.table[0])))
    return max(errors)


def as_vectors(h: Tensor, layout: str) -> Tensor:
    return h if layout == "tokens" else h.reshape(WIDE, -1).T


def test_where_all_sites_are_one_width_it_is_what_diffusers_computes() -> None:
    assert error_against_diffusers() <= TOLERANCE


@pytest.mark.parametrize("layout", ["map", "tokens", "vector"])
def test_a_wider_site_reads_the_shared_rows_through_its_widths_linear(layout: str) -> None:
    assert error_by_hand(layout) <= TOLERANCE


def deaf(tap: SingleTap, *streams: Stream) -> Tensor:
    return PREPARE(tap, *[Stream(pooled=torch.zeros_like(stream.pooled)) for stream in streams])  # pyright: ignore[reportArgumentType]


def tableless(tap: SingleTap, signal: Tensor, emb: Tensor) -> Any:
    rows = tap._borrowed[0](emb, signal, tap.rows, tap.table.shape[1])
    return [beside(row, tap.layout) for row in rows.unbind(1)]


def timeless(tap: SingleTap, signal: Tensor, emb: Tensor) -> Any:
    return SPOKEN(tap, signal, torch.zeros_like(emb))


def scale_first(tap: SingleTap, signal: Tensor, emb: Tensor) -> Any:
    return SPOKEN(tap, signal, emb)[::-1]


def scale_as_gate(tap: SingleTap, signal: Tensor, emb: Tensor) -> Any:
    """A gate that reads another of the shared rows."""
    if isinstance(tap, adaln_single.GateTap):
        tap.rows = slice(1, 2)  # pyright: ignore[reportAttributeAccessIssue]
    return SPOKEN(tap, signal, emb)


PREPARE, SPOKEN = SingleTap.prepare, SingleTap.said
MUTANTS: list[tuple[str, Callable[..., Any]]] = [
    ("prepare", deaf),
    ("said", tableless),
    ("said", timeless),
    ("said", scale_first),
    ("said", scale_as_gate),
]


@pytest.mark.parametrize("error", [error_against_diffusers, error_by_hand])
@pytest.mark.parametrize(("method", "mutant"), MUTANTS, ids=[mutant.__name__ for _, mutant in MUTANTS])
def test_a_mutant_is_killed(
    method: str, mutant: Callable[..., Any], error: Callable[[], float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SingleTap, method, mutant)
    assert error() > 1e-3


def unfitted(shared: Shared, emb: Tensor, told: Tensor, rows: slice, channels: int) -> Tensor:
    """The shared rows where they end, and nothing behind."""
    return F.pad(SHARED(shared, emb, told, rows, shared.width), (0, channels - shared.width))


SHARED = Shared.forward


def test_a_width_without_its_linear_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Shared, "forward", unfitted)
    assert error_by_hand() > 1e-3


# --------------------------------------------------------------------------- one MLP, held once


def on(backbone: Any, sample: SampleShape, **options: Any) -> Any:
    """This injector alone on a backbone, mounted by the kit, its zeros drawn."""
    widths = (Widths(pooled=POOLED),)
    return InjectorCase({"single": lambda s, w: AdaLNSingle(s, w, **options)}, widths, backbone=backbone, sample=sample).mounted()


def transformer(mount: Any, sample: SampleShape) -> DiT:
    return DiT(mount, sample, width=16, depth=2, heads=2)


def unet(mount: Any, sample: SampleShape) -> UNet:
    return UNet(mount, sample, width=16, mult=(1, 2), blocks=1, attention=(1,), heads=2)


SAMPLE = SampleShape(2, 8, 8)


def test_the_state_dict_holds_the_mlp_once_and_else_tables() -> None:
    """On a transformer PixArt's departure is gone: no `fits`."""
    mounted = on(transformer, SAMPLE)
    keys = [key for key in mounted.network.state_dict() if ".taps." in key]
    owner = "blocks.0.norm1_site.taps.single"
    assert [key for key in keys if not key.endswith(".table")] == [
        f"{owner}.shared.told.weight",
        f"{owner}.shared.told.bias",
        f"{owner}.shared.make.weight",
        f"{owner}.shared.make.bias",
    ]
    assert len([key for key in keys if key.endswith(".table")]) == len(mounted.filled) == 9
    shared, tables = POOLED * 16 + 16 + 16 * 48 + 48, 16 * (2 * 5 + 4)
    assert sum(value.numel() for value in mounted.taps.values()) == shared + tables


def test_on_a_unet_every_other_width_has_one_linear() -> None:
    mounted = on(unet, SAMPLE)
    sites = [mounted.slots[name].site for name in mounted.filled]
    others = {place.width for place in sites} - {16}
    fits = {key.split(".fits.")[1]: value.shape for key, value in mounted.taps.items() if ".fits." in key}
    assert len(others) > 1
    assert fits == {f"{width}.weight": (width, 16) for width in others}


def test_a_width_that_no_site_has_gives_every_width_its_linear() -> None:
    mounted = on(transformer, SAMPLE, width=5)
    assert [tuple(value.shape) for key, value in mounted.taps.items() if ".fits." in key] == [(16, 5)]


@pytest.mark.parametrize("backbone", [transformer, unet])
def test_every_site_reads_the_same_mlp_after_copying_casting_and_loading(backbone: Any) -> None:
    """Borrowers follow their owner: a copy has an MLP of its own, and what is loaded into the owner reaches all."""
    said = [Stream(pooled=drawn(3, POOLED))]
    mounted = on(backbone, SAMPLE)
    copy: Any = deepcopy(mounted.network)
    taps = [module for module in copy.modules() if isinstance(module, SingleTap)]
    mlps = {id(tap._borrowed[0]) for tap in taps}
    assert mlps == {id(taps[0].shared)}
    assert not mlps & {id(module) for module in mounted.network.modules()}
    other = on(backbone, SAMPLE)
    other.network.load_state_dict({key: value * 1.5 for key, value in mounted.network.state_dict().items()})
    assert apart(other(said).detach(), mounted(said).detach()) > 1e-3
    other.network.load_state_dict(mounted.network.state_dict(), assign=True)
    assert torch.equal(other(said), mounted(said))
    assert {tap._borrowed[0].make.weight.dtype for tap in copy.half().modules() if isinstance(tap, SingleTap)} == {torch.float16}


def test_the_mlp_hears_of_every_site() -> None:
    """One step at the last site alone moves what all the others say."""
    first, last = opened(site("a"), site("b"))
    last(H, last.prepare(SAID), EMB).square().sum().backward()
    assert first.table.grad is None
    assert first.shared.make.weight.grad.any()


def test_one_seed_draws_one_mlp_whatever_the_other_sites() -> None:
    """It is drawn where the first site is, and the Linear of a width where the first site of that width is."""

    def made(*sites: Site) -> dict[str, Tensor]:
        injector = AdaLNSingle(NAMES, WIDTHS)
        taps: list[Any] = []
        for place in sites:
            torch.manual_seed(sum(place.name.encode()))
            taps.append(injector.tap(place))
        return {name: value.clone() for name, value in taps[0].state_dict().items()}

    with torch.random.fork_rng(devices=[]):
        few = made(site("a"), site("b", channels=WIDE))
        many = made(site("a"), site("x", "branch"), site("b", channels=WIDE), site("y", channels=WIDE))
    assert few.keys() == many.keys()
    assert all(torch.equal(few[name], many[name]) for name in few)


def test_a_site_met_again_belongs_to_another_network() -> None:
    """Made for a second network, it owns an MLP there too, so that none is trained or saved by nobody."""
    injector = AdaLNSingle(NAMES, WIDTHS)
    taps: list[Any] = [injector.tap(site(name)) for name in ("a", "b", "a", "b")]
    assert [hasattr(tap, "shared") for tap in taps] == [True, False, True, False]
    assert taps[0].shared is not taps[2].shared


# --------------------------------------------------------------------------- birth and refusals


@pytest.mark.parametrize("kind", ["norm", "branch"])
@pytest.mark.parametrize("channels", [CHANNELS, WIDE])
def test_at_birth_it_is_the_identity(kind: Any, channels: int) -> None:
    injector = AdaLNSingle(NAMES, WIDTHS, width=CHANNELS)
    tap: Any = injector.tap(site("a", kind, channels))
    h = drawn(2, 5, channels)
    assert torch.equal(tap.double()(h, tap.prepare(SAID), EMB), h)


def test_only_norm_and_branch_sites() -> None:
    kinds: Any = ("input", "embed", "norm", "attend", "sequence", "branch", "skip")
    assert [kind for kind in kinds if AdaLNSingle(NAMES, WIDTHS).tap(site("a", kind)) is not None] == ["norm", "branch"]


@pytest.mark.parametrize(
    ("streams", "widths", "text"),
    [
        (("text",), (Widths(tokens=8),), "adaln_single needs pooled, but stream 'text' offers tokens of width 8"),
        (("a", "b"), WIDTHS * 2, r"adaln_single reads exactly one stream; got 2 \('a', 'b'\); expected one entry a stream"),
        ((), (), r"adaln_single reads exactly one stream; got 0 \(none\)"),
    ],
)
def test_refusals(streams: Any, widths: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        AdaLNSingle(streams, widths)


def test_a_time_embedding_of_another_width_is_refused() -> None:
    injector = AdaLNSingle(NAMES, WIDTHS)
    injector.tap(site("a"))
    with pytest.raises(
        ValueError, match="adaln_single at b: the time embedding is 9 wide here and 8 at the sites before, but one MLP reads it"
    ):
        injector.tap(site("b", embedding=9))


def test_a_stream_that_came_without_its_pooled_vector_is_refused() -> None:
    (tap,) = opened(site("a"))
    with pytest.raises(ValueError, match="the stream has no pooled vector, though its encoder declared a width for one"):
        tap.prepare(Stream(tokens=drawn(2, 3, 5)))


def test_narrow_is_as_wide_as_the_narrow_networks_first_site() -> None:
    options = AdaLNSingle.narrow({"width": 1280})
    assert options == {}
    tap: Any = AdaLNSingle(NAMES, WIDTHS, **options).tap(site("a", channels=16))
    assert tap.shared.width == 16
