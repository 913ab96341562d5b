"""From its published start, zeros and all, each U-Net learns: a few steps tell two pictures apart under noise."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from cdkit.parts import Backbone, SampleShape
from cdkit_unet.unet import UNet
from cdkit_unet.unet_classic import UNetClassic
from torch.nn import functional as F

SAMPLE = SampleShape(1, 8, 8)
NETS: list[tuple[type[Backbone], dict[str, Any]]] = [
    (UNet, {"width": 16, "mult": (1, 2), "blocks": 1, "attention": (1,), "heads": 2}),
    (UNetClassic, {"width": 16, "mult": (1, 2), "heads": 2, "head_dim": 8}),
]


@pytest.mark.parametrize(("cls", "options"), NETS)
def test_it_learns_to_draw_one_of_two_pictures(cls: type[Backbone], options: dict[str, Any], recorder: Any) -> None:
    torch.manual_seed(0)
    net, draws = cls(recorder, SAMPLE, **options), torch.Generator().manual_seed(0)
    pictures, optimizer = torch.randn((2, *SAMPLE), generator=draws), torch.optim.Adam(net.parameters(), lr=3e-3)
    losses: list[float] = []
    for _ in range(50):
        clean = pictures[torch.randint(2, (16,), generator=draws)]
        noisy = 0.7 * clean + 0.7 * torch.randn((16, *SAMPLE), generator=draws)
        loss = F.mse_loss(net(noisy, torch.full((16,), 500.0), {}), clean)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]
