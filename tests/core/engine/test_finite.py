"""No update by a gradient that is no number, whether we hear of it before the update or after."""

from __future__ import annotations

import math

import pytest
import torch
from cdkit.engine.finite import Finite
from cdkit.engine.ranks import ALONE
from cdkit.errors import NumericsError
from torch import Tensor, nn


class Learnt:
    """One weight whose slope is always `slope`."""

    def __init__(self, *, fused: bool) -> None:
        self.weight = nn.Parameter(torch.tensor([3.0]))
        self.optimizer = torch.optim.AdamW([self.weight], lr=0.1, fused=fused)
        self.finite = Finite(self.optimizer, ALONE, "runs/it")
        self.step = 0

    def update(self, slope: float) -> float:
        self.weight.grad = torch.tensor([slope])
        self.step += 1
        self.finite.check(self.step, self.weight.grad.norm(), [self.weight.grad.sum()])
        self.optimizer.step()
        return self.weight.item()

    def state(self) -> list[Tensor]:
        return [value.clone() for value in self.optimizer.state[self.weight].values()]


@pytest.mark.parametrize("spoilt", [math.nan, math.inf, -math.inf])
def test_it_is_told_before_the_update(spoilt: float) -> None:
    one = Learnt(fused=False)
    before = one.update(1.0)
    with pytest.raises(NumericsError, match=r"^runs/it: step 2: the loss is .* and the gradient's norm .*; nothing was updated"):
        one.update(spoilt)
    assert one.weight.item() == before


@pytest.mark.parametrize("spoilt", [math.nan, math.inf, -math.inf])
def test_a_fused_update_is_left_out_and_told_at_the_next(spoilt: float) -> None:
    one = Learnt(fused=True)
    before, moments = one.update(1.0), one.state()
    assert one.update(spoilt) == before
    assert all(torch.equal(mine, was) for mine, was in zip(one.state(), moments, strict=True)), "nor do the moments know of it"
    with pytest.raises(NumericsError, match="runs/it: step 2: the loss is"):
        one.update(1.0)
    assert one.weight.item() == before


def test_a_fused_update_that_was_left_out_is_told_before_anything_is_kept() -> None:
    one = Learnt(fused=True)
    one.update(1.0)
    one.finite.settle()
    one.update(math.nan)
    with pytest.raises(NumericsError, match="step 2: the loss is nan and the gradient's norm nan"):
        one.finite.settle()
    one.finite.settle()


def test_updates_by_numbers_are_those_without_it() -> None:
    one, plain = Learnt(fused=True), nn.Parameter(torch.tensor([3.0]))
    optimizer = torch.optim.AdamW([plain], lr=0.1, fused=True)
    for slope in (1.0, -0.5, 2.0):
        plain.grad = torch.tensor([slope])
        optimizer.step()
        assert one.update(slope) == plain.item()
