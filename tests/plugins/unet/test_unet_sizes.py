"""Pictures of every size, and pictures that are moved: what a U-Net does with them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from cdkit.parts import SampleShape
from cdkit_unet.unet import UNet
from cdkit_unet.unet_classic import UNetClassic
from torch import Tensor, nn

SAMPLE = SampleShape(1, 8, 8)
OPTIONS: dict[str, Any] = {"width": 8, "mult": (1, 2, 2), "blocks": 1, "attention": (2,), "heads": 1}
SIZES = range(8, 73)


def answered(net: nn.Module, rows: int, columns: int) -> tuple[int, ...] | str:
    try:
        out: Tensor = net(torch.empty(1, 1, rows, columns, device="meta"), torch.empty(1, device="meta"), {})
    except ValueError as error:
        return str(error)
    return tuple(out.shape)


@pytest.mark.parametrize("other", [None, 8, 71, 72])
def test_every_size_is_drawn_or_refused_with_the_multiple(other: int | None, recorder: Any) -> None:
    """H and W from 8 to 72, on the meta device: the shape that went in, or a sentence that says what both must divide by."""
    with torch.device("meta"):
        net = UNet(recorder, SAMPLE, **OPTIONS)
    for rows in SIZES:
        columns = rows if other is None else other
        fits = rows % 4 == columns % 4 == 0
        found = answered(net, rows, columns)
        assert (
            found == (1, 1, rows, columns) if fits else f"{rows} x {columns}, but both sides must be multiples of 4" in str(found)
        )


def test_the_classic_one_takes_every_size(recorder: Any) -> None:
    with torch.device("meta"):
        net = UNetClassic(recorder, SAMPLE, width=8, mult=(1, 2), heads=1, head_dim=8)
    for side in SIZES:
        assert answered(net, side, 80 - side) == (1, 1, side, 80 - side)


@torch.no_grad()
def test_a_picture_that_is_moved_is_answered_moved(recorder: Any, armed: Any) -> None:
    """On a torus, by as many pixels as the coarsest level has stride: convolutions know no place, and neither does attention."""
    net = armed(UNet(recorder, SAMPLE, **OPTIONS))
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d) and layer.padding != (0, 0):
            layer.padding_mode = "circular"
    x = torch.randn(1, 1, 16, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    t = torch.full((1,), 300.0)
    still = net(x, t, {})
    for shift in ((4, 0), (0, 4), (8, -4)):
        moved = net(x.roll(shift, dims=(2, 3)), t, {})
        assert torch.allclose(moved, still.roll(shift, dims=(2, 3)), atol=1e-9)
    assert not torch.allclose(net(x.roll(1, dims=2), t, {}), still.roll(1, dims=2), atol=1e-3), "finer than the stride it is not"
