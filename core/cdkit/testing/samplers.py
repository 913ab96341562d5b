"""check_sampler: a sampler is pure, draws each picture by itself, and lands on what it is denoised to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from cdkit.parts import Grid, Sampler
from cdkit.testing.elsewhere import require_copies
from cdkit.testing.verdict import require, require_close, require_equal, run

STEPS = 10
SHAPE = (4, 2, 4, 4)


@dataclass(frozen=True, slots=True)
class SamplerCase:
    """A sampler's factory, its options bound."""

    factory: Callable[[], Sampler]

    def drawn(self, grid: Grid, index: Tensor | None = None, denoise: Callable[[Tensor, int], Tensor] | None = None) -> Tensor:
        """Four pictures, or those of the index, of a Gaussian whose denoiser is known."""
        noise = torch.stack([torch.randn(SHAPE[1:], generator=_generator(i), dtype=torch.float64) for i in range(SHAPE[0])])
        chosen = torch.arange(SHAPE[0]) if index is None else index
        x = grid.sigma[0] * noise[chosen]
        generators = [_generator(100 + int(i)) for i in chosen]
        return self.factory()(denoise or gaussian(grid), x, grid, generators)


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def gaussian(grid: Grid, *, mean: float = 0.3, deviation: float = 0.5) -> Callable[[Tensor, int], Tensor]:
    """The exact denoiser of pixels drawn from N(mean, deviation^2): E[clean | x], element by element."""

    def denoise(x: Tensor, i: int) -> Tensor:
        alpha, sigma = grid.alpha[i].to(x), grid.sigma[i].to(x)
        gain = alpha * deviation**2 / (alpha**2 * deviation**2 + sigma**2)
        return mean + gain * (x - alpha * mean)

    return denoise


def grids() -> dict[str, Grid]:
    """Grids of three kinds: variance preserving, the same with no signal left at its start, and flow."""
    angle = torch.linspace(0, 1, STEPS + 1, dtype=torch.float64) * torch.pi / 2
    angles = {"variance preserving": angle.clamp_min(0.02), "zero terminal SNR": angle}
    made = {name: Grid(t=1000 * (1 - angle / angle[-1]), alpha=a.sin(), sigma=a.cos()) for name, a in angles.items()}
    share = torch.linspace(0, 1, STEPS + 1, dtype=torch.float64)
    made["flow"] = Grid(t=1000 * (1 - share), alpha=share, sigma=1 - share)
    for grid in made.values():
        grid.alpha[-1], grid.sigma[-1] = 1, 0
    made["zero terminal SNR"].alpha[0] = 0
    return made


def check_finite(case: SamplerCase) -> None:
    """Pictures are finite and of x's shape and dtype on every kind of grid, one of a single step too."""
    for name, grid in grids().items():
        ends = Grid(*(values[[0, -1]] for values in (grid.t, grid.alpha, grid.sigma)))
        for steps in (grid, ends):
            out = case.drawn(steps)
            measured = (tuple(out.shape), out.dtype, bool(out.isfinite().all()))
            allowed = (SHAPE, torch.float64, True)
            require("finite", measured == allowed, f"{len(steps)} steps, {name}", measured=measured, allowed=allowed)


def check_pure(case: SamplerCase) -> None:
    """The same noise and generators give the same picture bit for bit; x is left alone, and so is the global random state."""
    before = torch.random.get_rng_state()
    for name, grid in grids().items():
        kept = [values.clone() for values in (grid.t, grid.alpha, grid.sigma)]
        require_equal("pure", case.drawn(grid), case.drawn(grid), f"drawn again, {name}")
        for found, expected in zip((grid.t, grid.alpha, grid.sigma), kept, strict=True):
            require_equal("pure", found, expected, f"the grid after drawing, {name}")
    same = torch.equal(before, torch.random.get_rng_state())
    require("pure", same, "torch's global random state after drawing", measured="moved", allowed="kept")


def check_batch(case: SamplerCase) -> None:
    """A picture is the same, bit for bit, alone, among others and in another order."""
    for name, grid in grids().items():
        whole = case.drawn(grid)
        for index in (torch.tensor([1]), torch.tensor([3, 0]), torch.tensor([2, 3, 1, 0])):
            require_equal("batch", case.drawn(grid, index), whole[index], f"pictures {index.tolist()} against all four, {name}")


def check_lands(case: SamplerCase) -> None:
    """Where every noisy picture is denoised to one clean picture, that is what is drawn."""
    clean = torch.linspace(-1, 1, 32, dtype=torch.float64).reshape(1, 2, 4, 4)

    def always(x: Tensor, i: int) -> Tensor:
        del i
        return clean.expand_as(x).clone()

    for name, grid in grids().items():
        out = case.drawn(grid, denoise=always)
        require_close("lands", out, clean.expand_as(out), 1e-9, f"denoised to one clean picture, {name}")


def check_calls(case: SamplerCase) -> None:
    """It asks for steps of the grid alone, 0 to S - 1, starting at 0."""
    grid = grids()["variance preserving"]
    asked: list[int] = []
    exact = gaussian(grid)

    def noted(x: Tensor, i: int) -> Tensor:
        asked.append(i)
        return exact(x, i)

    case.drawn(grid, denoise=noted)
    fits = bool(asked) and asked[0] == 0 and set(asked) <= set(range(len(grid)))
    require("calls", fits, "grid indices asked for", measured=asked, allowed=f"0 to {len(grid) - 1}, 0 first")


def check_copies(case: SamplerCase) -> None:
    """A deep copy and a pickled copy (another process) draw the same, bit for bit."""
    grid = grids()["flow"]
    require_copies(case.factory(), lambda sampler: SamplerCase(lambda: sampler).drawn(grid))


SAMPLER_CHECKS: Mapping[str, Callable[[SamplerCase], None]] = {
    "finite": check_finite,
    "pure": check_pure,
    "batch": check_batch,
    "lands": check_lands,
    "calls": check_calls,
    "copies": check_copies,
}


def check_sampler(factory: Callable[[], Sampler], *, exceptions: Mapping[str, str] | None = None) -> None:
    """Run every check on a sampler: `factory()`, its options bound with functools.partial."""
    run(SAMPLER_CHECKS, SamplerCase(factory), exceptions or {})
