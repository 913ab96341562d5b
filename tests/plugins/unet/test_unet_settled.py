"""A U-Net laid out for drawing is the same function, and its weights keep their names and stay the ones that are read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from cdkit.fast.hasten import settle
from cdkit.parts import SampleShape
from cdkit_unet.controlnet import ControlNet
from cdkit_unet.unet import UNet

OPTIONS: dict[str, Any] = {"width": 8, "mult": (1, 2), "blocks": 1, "attention": (1,), "heads": 2}


@pytest.mark.parametrize("kind", [UNet, ControlNet])
def test_settled_is_the_same_function(kind: Any, recorder: Any, armed: Callable[..., Any]) -> None:
    net = armed(kind(recorder, SampleShape(3, 8, 8), **OPTIONS))
    x, t = torch.randn(2, 3, 8, 8, dtype=torch.float64), torch.tensor([10.0, 700.0], dtype=torch.float64)
    before, names = net(x, t, {}), set(net.state_dict())
    settle(net)
    torch.testing.assert_close(net(x, t, {}), before, rtol=1e-9, atol=1e-9)
    assert set(net.state_dict()) == {name for name in names if not name.endswith("conv1.bias")}


@pytest.mark.parametrize("name", ["time.weight", "time.bias", "to_q.weight", "to_k.weight", "to_v.weight"])
def test_a_weight_that_changes_afterwards_is_heard(name: str, recorder: Any, armed: Callable[..., Any]) -> None:
    net = armed(UNet(recorder, SampleShape(3, 8, 8), **OPTIONS))
    settle(net)
    x, t = torch.randn(2, 3, 8, 8, dtype=torch.float64), torch.tensor([10.0, 700.0], dtype=torch.float64)
    before = net(x, t, {})
    with torch.no_grad():
        for path, parameter in net.named_parameters():
            if path.endswith(f".{name}"):
                parameter += torch.randn_like(parameter)
    assert not torch.allclose(net(x, t, {}), before)
