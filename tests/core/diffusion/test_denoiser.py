"""Denoiser: one call of the model a step, each branch told what it should be, guidance before the clamp."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
import torch
from cdkit.diffusion.denoiser import At, Branches, Denoiser
from cdkit.diffusion.process import Diffusion
from cdkit.parts import Grid, Guider, Signals
from torch import Tensor

TOLD, SILENT = frozenset[str](), frozenset({"text"})


@dataclass
class Network:
    """Says what it was told: its output is its signal, so a mixed-up row shows."""

    calls: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    steps: list[At] = field(default_factory=list)
    prepared: list[Branches] = field(default_factory=list)
    n: int = 2

    def predict(self, x: Tensor, t: Tensor, signals: Signals, at: At) -> Tensor:
        self.calls.append((x, t))
        self.steps.append(at)
        return x + signals["site"]["method"][:, None, None, None]

    def signals(self, branches: Branches) -> Signals:
        """Picture p is told p + 1, and nothing where it is silent; branch after branch."""
        self.prepared.append(branches)
        told = [torch.arange(1.0, self.n + 1) if "text" not in branch else torch.zeros(self.n) for branch in branches]
        return {"site": {"method": torch.cat(told)}}


@dataclass
class Pair(Guider):
    """silent + scale (told - silent) before step `until`, what was told after it."""

    scale: float = 3.0
    until: int = 100

    def branches(self, conditions: Sequence[str], grid: Grid, index: int) -> Sequence[frozenset[str]]:
        del grid
        return [TOLD, frozenset(conditions)] if index < self.until else [TOLD]

    def combine(self, clean: Sequence[Tensor], grid: Grid, index: int) -> Tensor:
        del grid, index
        return clean[0] if len(clean) == 1 else clean[1] + self.scale * (clean[0] - clean[1])


def denoiser(network: Network, **options: Any) -> Denoiser:
    diffusion = Diffusion(prediction="sample", **options.pop("diffusion", {}))
    return Denoiser(predict=network.predict, signals=network.signals, diffusion=diffusion, grid=diffusion.grid(10), **options)


def saying(output: Tensor, *_: Any) -> Tensor:
    """A network that says this whatever it is asked."""
    return output


def noise(dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn((2, 1, 4, 4), generator=torch.Generator().manual_seed(0)).to(dtype)


def test_branches_run_in_one_call_each_row_with_its_own_signal() -> None:
    network, x = Network(), noise()
    guided = denoiser(network, guider=Pair(), conditions=("text",))(x, 4)
    assert len(network.calls) == 1
    rows, t = network.calls[0]
    assert torch.equal(rows, torch.cat([x, x]))
    assert t.tolist() == [599.0] * 4
    assert t.dtype == torch.float32
    assert torch.allclose(guided, x + 3 * torch.tensor([1.0, 2.0]).view(2, 1, 1, 1))


def test_signals_are_prepared_once_for_each_set_of_branches_and_never_once_a_step() -> None:
    network = Network()
    made = denoiser(network, guider=Pair(until=5), conditions=("text",))
    for i in range(10):
        made(noise(), i)
    assert network.prepared == [(TOLD, SILENT), (TOLD,)]
    assert [len(rows) for rows, _ in network.calls] == [4] * 5 + [2] * 5
    assert network.steps == [At(i, (TOLD, SILENT) if i < 5 else (TOLD,)) for i in range(10)]


@pytest.mark.parametrize("options", [{}, {"guider": Pair()}, {"conditions": ("text",)}])
def test_without_a_guider_or_without_conditions_there_is_one_branch(options: dict[str, Any]) -> None:
    network, x = Network(), noise()
    told = denoiser(network, **options)(x, 0)
    assert network.prepared == [(TOLD,)]
    assert torch.equal(told, x + torch.tensor([1.0, 2.0]).view(2, 1, 1, 1))


def test_the_clamp_comes_after_guidance() -> None:
    """Clamped before, 2 and 1 would be 1 and 0.5 and guide elsewhere; after, the result is what is clamped."""
    network, x = Network(), torch.zeros(2, 1, 4, 4)
    guided = denoiser(network, guider=Pair(scale=0.75), conditions=("text",), diffusion={"clip": 1.0})(x, 0)
    assert guided[:, 0, 0, 0].tolist() == [0.75, 1.0]
    assert denoiser(network, guider=Pair(scale=0.75), conditions=("text",))(x, 0)[:, 0, 0, 0].tolist() == [0.75, 1.5]


def test_every_prediction_becomes_the_clean_picture_at_the_steps_level() -> None:
    clean, drawn = noise(torch.float64), noise(torch.float64).flip(0)
    for prediction in ("epsilon", "v", "sample", "flow"):
        diffusion = Diffusion(prediction=prediction)
        grid = diffusion.grid(10)
        for i in range(1, 10):
            alpha, sigma = float(grid.alpha[i]), float(grid.sigma[i])
            output = diffusion.prediction.target(clean, drawn, alpha, sigma)
            made = Denoiser(predict=partial(saying, output), signals=lambda _: {}, diffusion=diffusion, grid=grid)
            assert torch.allclose(made(alpha * clean + sigma * drawn, i), clean, atol=1e-10)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_the_picture_keeps_its_dtype_and_the_time_is_never_rounded_to_half(dtype: torch.dtype) -> None:
    network = Network()
    assert denoiser(network)(noise(dtype), 4).dtype == dtype
    t = network.calls[0][1]
    assert t.tolist() == [599.0, 599.0]
    assert t.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)


def test_a_guider_that_asks_for_nothing_is_refused() -> None:
    @dataclass
    class Nothing(Pair):
        def branches(self, conditions: Sequence[str], grid: Grid, index: int) -> Sequence[frozenset[str]]:
            del conditions, grid, index
            return []

    with pytest.raises(ValueError, match="Nothing asks for no branch at step 3; expected at least one"):
        denoiser(Network(), guider=Nothing(), conditions=("text",))(noise(), 3)
