"""`unipc`: unified predictor-corrector, multistep in lambda, B(h) = exp(h) - 1 (Zhao et al. 2023, arXiv 2302.04867). S calls."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Interval
from cdkit.hooks import hookimpl
from cdkit.parts import Denoise, Grid, Sampler
from torch import Tensor

from cdkit_samplers.step import Step, log_ratio, steps_of

Past = list[tuple[float, Tensor]]  # lambda and the clean picture seen there, newest last


@dataclass(frozen=True)
class UniPC(Sampler):
    """order: of the predictor (UniP); the corrector (UniC) costs no call and raises the whole to at least that.

    The first steps have less to look back at and are of lower order, and so are the last ones; the last, which ends on the
    clean picture, is the clean picture. What was seen at alpha 0 (lambda -inf) is not looked back at.
    """

    order: Annotated[int, Interval(ge=1, le=3)] = 2

    def __call__(self, denoise: Denoise, x: Tensor, grid: Grid, generators: Sequence[torch.Generator]) -> Tensor:
        del generators
        steps, past, start, order = steps_of(grid), Past(), x, 0
        for i, step in enumerate(steps):
            clean = denoise(x, i)
            if step.last:
                return clean
            if past:
                x = corrected(steps[i - 1], start, past, clean, order)
            past.append((log_ratio(step.alpha, step.sigma), clean))
            order = min(self.order, len(steps) - i, reach(past))
            start, x = x, predicted(step, x, past, order)
        return x


def reach(past: Past) -> int:
    """How many pictures can be looked back at, the newest included wherever it was seen."""
    return 1 + sum(math.isfinite(place) for place, _ in past[:-1])


def predicted(step: Step, x: Tensor, past: Past, order: int) -> Tensor:
    """UniP: x (B, C, H, W) at the next level from the last `order` clean pictures (their eq. 8)."""
    if order == 1:
        return step.toward(x, past[-1][1])
    places, slopes = looked_back(step.h, past, order)
    shares = [0.5] if order == 2 else shares_of(step.h, places)
    return step.toward(x, past[-1][1]) - step.alpha_next * math.expm1(-step.h) * mixed(shares, slopes)


def corrected(step: Step, x: Tensor, past: Past, clean: Tensor, order: int) -> Tensor:
    """UniC: the same step again, now that the clean picture at its end is seen too (their eq. 3)."""
    places, slopes = looked_back(step.h, past, order)
    shares = [0.5] if order == 1 else shares_of(step.h, [*places, 1.0])
    change = mixed(shares, [*slopes, clean - past[-1][1]])
    return step.toward(x, past[-1][1]) - step.alpha_next * math.expm1(-step.h) * change


def looked_back(h: float, past: Past, order: int) -> tuple[list[float], list[Tensor]]:
    """Earlier places in steps of h from the newest, and the slopes of the clean picture from there to it."""
    here, clean = past[-1]
    earlier = past[-order:-1][::-1]
    places = [(place - here) / h for place, _ in earlier]
    return places, [(seen - clean) / place for place, (_, seen) in zip(places, earlier, strict=True)]


def shares_of(h: float, places: Sequence[float]) -> list[float]:
    """How much each slope counts, so that polynomials up to their number are integrated exactly (their theorem 3.1)."""
    rows = [[place**power for place in places] for power in range(len(places))]
    phi, factorial, wanted = math.expm1(-h) / -h - 1, 1, list[float]()
    for power in range(1, len(places) + 1):
        wanted.append(phi * factorial / math.expm1(-h))
        factorial *= power + 1
        phi = phi / -h - 1 / factorial
    return torch.linalg.solve(torch.tensor(rows, dtype=torch.float64), torch.tensor(wanted, dtype=torch.float64)).tolist()


def mixed(shares: Sequence[float], slopes: Sequence[Tensor]) -> Tensor:
    """Their weighted sum."""
    terms = [share * slope for share, slope in zip(shares, slopes, strict=True)]
    return torch.stack(terms).sum(0) if len(terms) > 1 else terms[0]


@hookimpl
def cdkit_sampler() -> type[UniPC]:
    return UniPC
