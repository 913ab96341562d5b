"""Predictions: what the network's output stands for, and the clean picture that it implies.

With x = alpha clean + sigma noise, every output is a second linear equation, so clean and noise follow exactly wherever
the two are independent. `v`, `sample` and `flow` are so at every alpha and sigma >= 0 that are not both 0, on
variance-preserving and on flow schedules alike; `epsilon` tells nothing about the picture where alpha is 0.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal, TypeAlias

import torch
from torch import Tensor

Name: TypeAlias = Literal["epsilon", "v", "sample", "flow"]
Level: TypeAlias = Tensor | float  # alpha or sigma, of a shape that spreads over the pictures


class Prediction(ABC):
    """An output of the network <-> the clean picture and the noise. All tensors (B, C, H, W)."""

    needs_signal: bool = False  # undefined where alpha is 0

    @abstractmethod
    def target(self, clean: Tensor, noise: Tensor, alpha: Level, sigma: Level) -> Tensor:
        """What the network should say."""

    @abstractmethod
    def clean(self, output: Tensor, x: Tensor, alpha: Level, sigma: Level) -> Tensor:
        """The clean picture that this output means."""

    @abstractmethod
    def noise(self, output: Tensor, x: Tensor, alpha: Level, sigma: Level) -> Tensor:
        """The noise that this output means."""

    @abstractmethod
    def gain(self, alpha: Tensor, sigma: Tensor) -> Tensor:
        """|d clean / d output|: an error of the output times this is an error of the clean picture."""


class Epsilon(Prediction):
    """The noise (Ho et al. 2020, eq. 11)."""

    needs_signal = True

    def target(self, clean: Tensor, noise: Tensor, alpha: Level, sigma: Level) -> Tensor:
        del clean, alpha, sigma
        return noise

    def clean(self, output: Tensor, x: Tensor, alpha: Level, sigma: Level) -> Tensor:
        return (x - sigma * output) / alpha

    def noise(self, output: Tensor, x: Tensor, alpha: Level, sigma: Level) -> Tensor:
        del x, alpha, sigma
        return output

    def gain(self, alpha: Tensor, sigma: Tensor) -> Tensor:
        return sigma / alpha


class V(Prediction):
    """alpha noise - sigma clean (Salimans & Ho 2022, section 4), solved for paths of any length alpha^2 + sigma^2."""

    def target(self, clean: Tensor, noise: Tensor, alpha: Level, sigma: Level) -> Tensor:
        return alpha * noise - sigma * clean

    def clean(self, output: Tensor, x: Tensor, alpha: Level, sigma: Level) -> Tensor:
        return (alpha * x - sigma * output) / (alpha**2 + sigma**2)

    def noise(self, output: Tensor, x: Tensor, alpha: Level, sigma: Level) -> Tensor:
        return (sigma * x + alpha * output) / (alpha**2 + sigma**2)

    def gain(self, alpha: Tensor, sigma: Tensor) -> Tensor:
        return sigma / (alpha**2 + sigma**2)


class Sample(Prediction):
    """The clean picture itself; its noise is undefined where sigma is 0."""

    def target(self, clean: Tensor, noise: Tensor, alpha: Level, sigma: Level) -> Tensor:
        del noise, alpha, sigma
        return clean

    def clean(self, output: Tensor, x: Tensor, alpha: Level, sigma: Level) -> Tensor:
        del x, alpha, sigma
        return output

    def noise(self, output: Tensor, x: Tensor, alpha: Level, sigma: Level) -> Tensor:
        return (x - alpha * output) / sigma

    def gain(self, alpha: Tensor, sigma: Tensor) -> Tensor:
        del sigma
        return torch.ones_like(alpha)


class Velocity(Prediction):
    """noise - clean, the velocity of the flow path (Lipman et al. 2022); alpha + sigma is 1 there and >= 1 elsewhere."""

    def target(self, clean: Tensor, noise: Tensor, alpha: Level, sigma: Level) -> Tensor:
        del alpha, sigma
        return noise - clean

    def clean(self, output: Tensor, x: Tensor, alpha: Level, sigma: Level) -> Tensor:
        return (x - sigma * output) / (alpha + sigma)

    def noise(self, output: Tensor, x: Tensor, alpha: Level, sigma: Level) -> Tensor:
        return (x + alpha * output) / (alpha + sigma)

    def gain(self, alpha: Tensor, sigma: Tensor) -> Tensor:
        return sigma / (alpha + sigma)


def make_prediction(name: Name) -> Prediction:
    """A prediction by the name that specs use."""
    kinds: dict[Name, type[Prediction]] = {"epsilon": Epsilon, "v": V, "sample": Sample, "flow": Velocity}
    return kinds[name]()
