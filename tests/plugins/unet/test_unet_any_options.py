"""Whatever fits together is built, on the meta device, and every site is handed what it was promised."""

from __future__ import annotations

from typing import Any

import torch
from cdkit.parts import SampleShape
from cdkit_unet.unet import UNet
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

SHARED = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@some.composite
def options(draw: some.DrawFn) -> dict[str, Any]:
    mult = draw(some.lists(some.integers(1, 3), min_size=1, max_size=3))
    heads = draw(some.sampled_from([{"heads": 2}, {"heads": 4}, {"head_dim": 4}, {"head_dim": 8}, {}]))
    return {
        "width": draw(some.sampled_from([8, 16, 24, 40])),
        "mult": tuple(mult),
        "blocks": draw(some.integers(1, 3)),
        "attention": tuple(sorted(draw(some.sets(some.integers(0, len(mult) - 1))))),
        "depth": tuple(draw(some.lists(some.integers(1, 2), min_size=len(mult), max_size=len(mult)))),
        "projection": draw(some.sampled_from(["conv", "linear"])),
        **heads,
    }


@SHARED
@given(options(), some.integers(1, 3), some.integers(1, 3), some.integers(1, 4))
def test_every_site_is_handed_what_it_was_promised(
    recorder: Any, chosen: dict[str, Any], rows: int, columns: int, channels: int
) -> None:
    recorder = type(recorder)()
    with torch.device("meta"):
        net = UNet(recorder, SampleShape(channels, 8, 8), **chosen)
        size = rows * net.multiple, columns * net.multiple
        assert net(torch.empty(2, channels, *size), torch.empty(2), {}).shape == (2, channels, *size)
    assert len({site.name for site in recorder.sites}) == len(recorder.sites) == len(recorder.called)
    for site in recorder.sites:
        height, width = size[0] // site.stride, size[1] // site.stride
        shapes = {
            "vector": (2, site.width),
            "map": (2, site.width, height, width),
            "tokens": (2, height * width, site.width),
        }
        assert recorder.called[site.name] == (shapes[site.layout], (2, site.embedding))


@SHARED
@given(options())
def test_narrow_is_valid_and_keeps_the_sites(recorder: Any, chosen: dict[str, Any]) -> None:
    recorder = type(recorder)()
    with torch.device("meta"):
        UNet(recorder, SampleShape(1, 8, 8), **chosen)
        wide, recorder.sites = recorder.sites, []
        UNet(recorder, SampleShape(1, 8, 8), **UNet.narrow(chosen))
    kept = [(s.name, s.kind, s.layout, s.stride) for s in recorder.sites]
    assert kept == [(s.name, s.kind, s.layout, s.stride) for s in wide]
