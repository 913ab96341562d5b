"""What every U-Net here must do: mean its sites, its skips and the time; treat the pictures of a batch alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from cdkit.parts import Backbone, Joined, SampleShape, Site
from cdkit_unet.unet import UNet
from cdkit_unet.unet_classic import UNetClassic
from torch import Tensor

Armed = Callable[..., Any]
SAMPLE = SampleShape(2, 8, 12)
NETS: dict[str, tuple[type[Backbone], dict[str, Any]]] = {
    "unet": (UNet, {"width": 16, "mult": (1, 2), "blocks": 1, "attention": (1,), "heads": 2}),
    "unet_all": (UNet, {"width": 16, "mult": (1, 1), "attention": (0, 1), "depth": (1, 2), "projection": "linear"}),
    "unet_bare": (UNet, {"width": 12, "mult": (1,), "blocks": 1, "attention": ()}),
    "classic": (UNetClassic, {"width": 16, "mult": (1, 2), "heads": 2, "head_dim": 4}),
    "classic_up": (UNetClassic, {"width": 8, "mult": (1, 2, 2), "heads": 2, "head_dim": 4, "up_attention": True}),
}


@pytest.fixture(params=NETS)
def net(request: pytest.FixtureRequest, recorder: Any, armed: Armed) -> Any:
    cls, options = NETS[request.param]
    torch.manual_seed(0)
    return armed(cls(recorder, SAMPLE, **options))


def rand(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def picture(n: int = 2) -> tuple[Tensor, Tensor]:
    return rand(n, *SAMPLE), torch.linspace(0, 999, n, dtype=torch.float64)


def shape_of(site: Site, n: int) -> tuple[int, ...]:
    """What h must be at a site, by what the site says of itself."""
    rows, columns = (-(-side // site.padded) * site.padded // site.stride for side in SAMPLE[1:])
    return {
        "vector": (n, site.width),
        "map": (n, site.width, rows, columns),
        "tokens": (n, rows * columns, site.width),
    }[site.layout]


@torch.no_grad()
def test_every_site_is_named_once_and_called_with_what_it_says(net: Any, recorder: Any) -> None:
    out = net(*picture(3), {})
    assert out.shape == (3, *SAMPLE)
    assert out.isfinite().all()
    names = [site.name for site in recorder.sites]
    assert len(set(names)) == len(names)
    assert set(recorder.called) == set(names)
    for site in recorder.sites:
        assert recorder.called[site.name] == (shape_of(site, 3), (3, site.embedding)), site


@torch.no_grad()
def test_every_site_reaches_the_output(net: Any, recorder: Any) -> None:
    x, t = picture()
    plain = net(x, t, {})
    for site in recorder.sites:
        recorder.instead = {site.name: lambda h: h * (1 + 0.1 * rand(*h.shape, seed=3))}
        assert (net(x, t, {}) - plain).abs().max() > 1e-6 * plain.abs().max(), site.name
    recorder.instead = {}
    assert torch.equal(net(x, t, {}), plain)


@torch.no_grad()
def test_tokens_joined_at_sequence_sites_are_read_and_masked_ones_are_not(net: Any, recorder: Any) -> None:
    x, t = picture()
    plain, tokens = net(x, t, {}), rand(2, 3, 64, seed=5)
    recorder.extra = Joined(tokens, torch.zeros(2, 3, dtype=torch.bool))
    torch.testing.assert_close(net(x, t, {}), plain, rtol=1e-9, atol=1e-9)
    recorder.extra = Joined(tokens, torch.tensor([[True, True, False], [False, False, False]]))
    told = net(x, t, {})
    torch.testing.assert_close(told[1], plain[1], rtol=1e-9, atol=1e-9)
    assert (told[0] - plain[0]).abs().max() > 1e-6


@torch.no_grad()
@pytest.mark.parametrize("name", [name for name in NETS if name.startswith("unet")])
def test_every_skip_matters(name: str, recorder: Any, armed: Armed) -> None:
    net = armed(UNet(recorder, SAMPLE, **NETS[name][1]))
    x, t = picture()
    plain = net(x, t, {})
    for site in (site.name for site in recorder.sites if site.kind == "skip"):
        recorder.instead = {site: torch.zeros_like}
        assert (net(x, t, {}) - plain).abs().max() > 1e-6 * plain.abs().max(), site


@torch.no_grad()
@pytest.mark.parametrize("name", [name for name in NETS if name.startswith("classic")])
def test_every_skip_of_the_textbooks_matters(name: str, recorder: Any, armed: Armed) -> None:
    net = armed(UNetClassic(recorder, SAMPLE, **NETS[name][1]))
    x, t = picture()
    h, skips, emb = net.encode(x, t, {})
    plain = net.decode(h, skips, emb, {})
    for i, skip in enumerate(skips):
        cut = [*skips[:i], torch.zeros_like(skip), *skips[i + 1 :]]
        assert (net.decode(h, cut, emb, {}) - plain).abs().max() > 1e-6 * plain.abs().max(), i
    assert torch.equal(net.decode(h, skips, emb, {}), plain)  # decode leaves the list that it is given as it was


@torch.no_grad()
def test_time_matters_for_each_picture_alone(net: Any) -> None:
    x, t = picture()
    plain, later = net(x, t, {}), net(x, t + torch.tensor([0.0, 1.0]), {})
    torch.testing.assert_close(later[0], plain[0], rtol=1e-12, atol=1e-12)
    assert (later[1] - plain[1]).abs().max() > 1e-4 * plain.abs().max()


@torch.no_grad()
def test_pictures_of_a_batch_do_not_mix(net: Any) -> None:
    x, t = picture(4)
    order = torch.tensor([2, 0, 3, 1])
    assert torch.equal(net(x[order], t[order], {}), net(x, t, {})[order])


@torch.no_grad()
def test_channels_last_changes_nothing(net: Any) -> None:
    x, t = picture()
    plain = net(x, t, {})
    last = net.to(memory_format=torch.channels_last)
    torch.testing.assert_close(last(x.to(memory_format=torch.channels_last), t, {}), plain, rtol=1e-10, atol=1e-10)


def test_every_weight_learns(net: Any) -> None:
    net(*picture(), {}).square().mean().backward()
    assert [name for name, parameter in net.named_parameters() if parameter.grad is None or not parameter.grad.any()] == []


@torch.no_grad()
def test_bfloat16_stays_bfloat16(net: Any) -> None:
    x, t = picture()
    out = net.bfloat16()(x.bfloat16(), t, {})
    assert out.dtype == torch.bfloat16
    assert out.isfinite().all()


@pytest.mark.parametrize("name", NETS)
def test_weights_are_the_same_whatever_is_mounted(name: str, recorder: Any) -> None:
    cls, options = NETS[name]
    torch.manual_seed(3)
    first = cls(recorder, SAMPLE, **options).state_dict()
    torch.manual_seed(3)
    assert all(torch.equal(value, first[key]) for key, value in cls(recorder, SAMPLE, **options).state_dict().items())
