"""What these tests share: a small model told by words alone, with every gate open, and how it draws."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from cdkit.build import assemble
from cdkit.conditions import Count
from cdkit.model import Model
from cdkit.spec import read_spec
from torch import Tensor, nn

SPEC = Path(__file__).parents[3] / "specs" / "digits.yaml"
STEPS = 6


def made(*overrides: str) -> Model:
    """specs/digits.yaml with attention at both levels and one method, of random weights that show."""
    own = ("injectors=[{use: cross_attention, streams: [text], heads: 2}]", "backbone.attention=[0, 1]", f"sampler.steps={STEPS}")
    model = assemble(read_spec(SPEC, overrides=(*own, *overrides))).eval()
    draws = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if not parameter.any():
                parameter.normal_(std=0.1, generator=draws)
    for name in model.told:
        model.ledger.counts[name] = Count(told=9, silent=1)
    return model


@pytest.fixture(scope="session")
def model() -> Model:
    return made()


@pytest.fixture
def make() -> Callable[..., Model]:
    return made


@pytest.fixture
def draw(model: Model) -> Callable[..., Tensor]:
    """Pictures of prompts, from seeds 3 and on."""

    def drawn(approximate: Sequence[str] = (), prompts: Sequence[str] = ("seven", "three"), **how: Any) -> Tensor:
        return model.sample(list(prompts), approximate=approximate, **{"seed": 3, "guidance": 3.0, **how}).images

    return drawn


@pytest.fixture
def calls() -> Callable[..., int]:
    """How often a module is called while something is done."""

    def counted(module: nn.Module, do: Callable[[], Any]) -> int:
        seen: list[int] = []
        handle = module.register_forward_hook(lambda *_: seen.append(1))
        try:
            do()
        finally:
            handle.remove()
        return len(seen)

    return counted


def apart(found: Tensor, wanted: Tensor) -> float:
    return float((found - wanted).norm() / wanted.norm())


@pytest.fixture
def off() -> Callable[[Tensor, Tensor], float]:
    return apart
