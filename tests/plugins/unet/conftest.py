"""What the tests of the U-Nets share: slots that record or do nothing, and weights that hide nothing."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from cdkit.parts import Joined, Site
from torch import Tensor, nn


class Recorder:
    """A mount whose slots do nothing but note what they were called with."""

    def __init__(self) -> None:
        self.sites: list[Site] = []
        self.called: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {}
        self.instead: dict[str, Callable[[Tensor], Tensor]] = {}  # by site: what to return in place of h
        self.extra: Joined | None = None  # what every `sequence` slot appends

    def __call__(self, site: Site) -> nn.Module:
        self.sites.append(site)
        return Noted(self, site)


class Noted(nn.Module):
    def __init__(self, recorder: Recorder, site: Site) -> None:
        super().__init__()
        self.recorder, self.site = [recorder], site

    def forward(self, h: Tensor, _signals: object, emb: Tensor) -> Tensor | Joined:
        recorder = self.recorder[0]
        recorder.called[self.site.name] = tuple(h.shape), tuple(emb.shape)
        h = recorder.instead.get(self.site.name, lambda h: h)(h)
        return joined(h, recorder.extra) if self.site.kind == "sequence" else h


def joined(h: Tensor, extra: Joined | None) -> Joined:
    if extra is None:
        return Joined(h)
    tokens = extra.tokens[..., : h.shape[2]].to(h.dtype)
    assert extra.mask is not None
    own = torch.ones(h.shape[:2], dtype=torch.bool)
    return Joined(torch.cat([h, tokens], dim=1), torch.cat([own, extra.mask], dim=1))


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


def arm(module: nn.Module, seed: int = 0) -> nn.Module:
    """float64 weights at which every part shows: fan-in scaled with gain 1.5, norms 1 +- 0.2, biases +- 0.2."""
    draws = torch.Generator().manual_seed(seed)
    module = module.double()
    for name, parameter in module.named_parameters():
        noise = torch.randn(parameter.shape, generator=draws, dtype=torch.float64)
        scaled = noise * 0.2 if parameter.dim() == 1 else noise * 1.5 / parameter[0].numel() ** 0.5
        with torch.no_grad():
            parameter.copy_(scaled + 1 if parameter.dim() == 1 and name.endswith("weight") else scaled)
    return module.eval()


@pytest.fixture
def armed() -> Callable[..., nn.Module]:
    return arm
