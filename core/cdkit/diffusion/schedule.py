"""Schedules: how much of the picture (alpha) and of the noise (sigma) is left at each place between clean and noise.

A place is a number in [0, T]: 0 is the clean picture (alpha 1, sigma 0) and T where noising ends. A table's steps of
training are the places 1 ... T; between two of them the angle atan2(sigma, alpha) is interpolated, so that
alpha^2 + sigma^2 = 1 everywhere. x = alpha * clean + sigma * noise.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from cdkit.diffusion.precision import widest

Name: TypeAlias = Literal["linear", "scaled_linear", "cosine", "sigmoid", "flow"]

MOST = 1000.0  # the network is told times in [0, 1000]
STEEPEST = 0.999  # no step of a curve takes away more of the variance: Nichol & Dhariwal 2021, section 3.2


class Schedule(ABC):
    """alpha and sigma as functions of the place. Float64 inside (float32 where the device has nothing wider)."""

    length: int  # T

    @abstractmethod
    def pair(self, place: Tensor) -> tuple[Tensor, Tensor]:
        """Places of any shape -> alpha and sigma of that shape, on its device."""

    @abstractmethod
    def told(self, place: Tensor) -> Tensor:
        """Places -> times in [0, 1000], what the network is told."""

    @abstractmethod
    def place(self, told: Tensor) -> Tensor:
        """The inverse of `told`."""

    @abstractmethod
    def reached(self, angle: Tensor) -> Tensor:
        """Angles atan2(sigma, alpha), float64 on the CPU -> the places where the schedule has them."""


class Table(Schedule):
    """A variance-preserving schedule of T steps, from the share of the variance (T,) that is left after each.

    alpha_bar must fall strictly from below 1 to 0 or above; ValueError otherwise.
    """

    def __init__(self, alpha_bar: Tensor) -> None:
        whole = torch.cat([torch.ones(1, dtype=torch.float64, device="cpu"), alpha_bar.to("cpu", torch.float64)])
        if not (bool((whole.diff() < 0).all()) and bool(whole[-1] >= 0)):
            raise ValueError("the noise of a schedule has to grow at every step, from none to at most all; these betas do not")
        self.length = len(alpha_bar)
        self.alpha = whole.sqrt()
        self.sigma = (1 - whole).sqrt()
        self.angle = torch.atan2(self.sigma, self.alpha)
        self._copies: dict[torch.device, tuple[Tensor, Tensor, Tensor]] = {}

    def pair(self, place: Tensor) -> tuple[Tensor, Tensor]:
        alphas, sigmas, angles = self._on(place.device)
        exact = place.to(angles.dtype).clamp(0, self.length)
        below = exact.floor()
        rest, lower = exact - below, below.long()
        angle = torch.lerp(angles[lower], angles[(lower + 1).clamp(max=self.length)], rest)
        known = rest == 0  # the table's own values, to the last bit: alpha is exactly 0 where a schedule says so
        return torch.where(known, alphas[lower], angle.cos()), torch.where(known, sigmas[lower], angle.sin())

    def told(self, place: Tensor) -> Tensor:
        return (place - 1).clamp(min=0)

    def place(self, told: Tensor) -> Tensor:
        return told + 1

    def reached(self, angle: Tensor) -> Tensor:
        above = torch.searchsorted(self.angle, angle).clamp(1, self.length)
        start, end = self.angle[above - 1], self.angle[above]
        return above - 1 + (angle - start) / (end - start)

    def _on(self, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        """The tables on a device, copied there once."""
        if device not in self._copies:
            kind = widest(device)
            self._copies[device] = (self.alpha.to(device, kind), self.sigma.to(device, kind), self.angle.to(device, kind))
        return self._copies[device]


class Flow(Schedule):
    """x = (1 - s) clean + s noise, s = place / T (rectified flow: Liu et al. 2022, Lipman et al. 2022). Told: 1000 s."""

    def __init__(self, length: int) -> None:
        self.length = length

    def pair(self, place: Tensor) -> tuple[Tensor, Tensor]:
        share = (place.to(widest(place.device)) / self.length).clamp(0, 1)
        return 1 - share, share

    def told(self, place: Tensor) -> Tensor:
        return place * MOST / self.length

    def place(self, told: Tensor) -> Tensor:
        return told * self.length / MOST

    def reached(self, angle: Tensor) -> Tensor:
        return self.length * angle.sin() / (angle.sin() + angle.cos())


def linear(steps: int, start: float, end: float) -> Tensor:
    """alpha_bar (T,) of betas that grow linearly (Ho et al. 2020)."""
    return torch.cumprod(1 - torch.linspace(start, end, steps, dtype=torch.float64, device="cpu"), 0)


def scaled_linear(steps: int, start: float, end: float) -> Tensor:
    """alpha_bar (T,) of betas whose roots grow linearly (Rombach et al. 2022; CompVis calls it linear)."""
    return torch.cumprod(1 - torch.linspace(start**0.5, end**0.5, steps, dtype=torch.float64, device="cpu") ** 2, 0)


def cosine(steps: int) -> Tensor:
    """alpha_bar (T,) along a squared cosine, with the offset 0.008 (Nichol & Dhariwal 2021, eq. 17)."""
    return _along(lambda share: torch.cos((share + 0.008) / 1.008 * math.pi / 2) ** 2, steps)


def sigmoid(steps: int) -> Tensor:
    """alpha_bar (T,) along a sigmoid from -3 to 3 (Jabri et al. 2022, algorithm 2, tau 1)."""
    return _along(lambda share: torch.sigmoid(3 - 6 * share) - torch.sigmoid(torch.tensor(-3.0, dtype=torch.float64)), steps)


def _along(curve: Callable[[Tensor], Tensor], steps: int) -> Tensor:
    """alpha_bar (T,) that follows a curve over [0, 1], no step steeper than STEEPEST."""
    height = curve(torch.linspace(0, 1, steps + 1, dtype=torch.float64, device="cpu"))
    return torch.cumprod(1 - (1 - height[1:] / height[:-1]).clamp(max=STEEPEST), 0)


def zero_terminal(alpha_bar: Tensor) -> Tensor:
    """The same schedule with nothing of the picture left at its end (Lin et al. 2023, algorithm 1).

    alpha_bar[-1] is 0 exactly and alpha_bar[0] what it was; their roots are shifted and scaled in between.
    """
    if len(alpha_bar) < 2:
        raise ValueError("zero_terminal_snr needs a schedule of at least 2 steps: the first stays, the last becomes pure noise")
    root = alpha_bar.sqrt()
    rescaled = ((root - root[-1]) * (root[0] / (root[0] - root[-1]))) ** 2
    rescaled[0] = alpha_bar[0]
    return rescaled


def make_schedule(name: Name, *, steps: int, beta_start: float, beta_end: float, zero_terminal_snr: bool) -> Schedule:
    """A schedule by name. The betas are those of `linear` and `scaled_linear`; `flow` ends in pure noise by itself."""
    if name == "flow":
        return Flow(steps)
    if name in ("linear", "scaled_linear"):
        if not 0 < beta_start <= beta_end < 1:
            raise ValueError(f"beta_start {beta_start:g} and beta_end {beta_end:g}; expected 0 < beta_start <= beta_end < 1")
        alpha_bar = {"linear": linear, "scaled_linear": scaled_linear}[name](steps, beta_start, beta_end)
    else:
        alpha_bar = {"cosine": cosine, "sigmoid": sigmoid}[name](steps)
    return Table(zero_terminal(alpha_bar) if zero_terminal_snr else alpha_bar)
