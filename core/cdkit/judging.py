"""How a model is judged: the kind `metric`, and what a metric sees of the model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor

from cdkit.learning import Dataset


@dataclass(frozen=True, slots=True)
class Acting:
    """Where each of W words of a prompt acts in a picture, at K noise levels from much to little; on the CPU, float32."""

    words: tuple[str, ...]
    sigmas: tuple[float, ...]  # K
    influence: Tensor  # (W, K, H, W): how far the picture moves there without the word; values span [-1, 1]
    attention: Tensor | None  # (W, K, H, W): the share of attention that is the word's, over all heads and sites


class Examinee(Protocol):
    """A model under examination, as a metric sees it."""

    dataset: Dataset
    cache: Path  # a folder where a metric may keep what it trained
    device: torch.device

    def draw(self, values: Mapping[str, Sequence[Any]], seeds: Sequence[int], guidance: float | None = None) -> Tensor:
        """Raw values by column, a seed a picture -> (N, C, H, W) in [-1, 1], by the spec's own sampler and guidance."""
        ...

    def loss(self, images: Tensor, values: Mapping[str, Sequence[Any]], level: float, seeds: Sequence[int]) -> Tensor:
        """Denoising error (N,) of images (N, C, H, W) at noise level in (0, 1), told these values; noise from the seeds."""
        ...

    def reconstruct(self, images: Tensor) -> Tensor:
        """Images (N, 3, H, W) in [-1, 1] through the autoencoder's latents and back. UsageError where there is none."""
        ...

    def acting(self, image: Tensor, values: Mapping[str, Sequence[Any]], seed: int) -> Acting:
        """Where each word acts in an image (C, H, W), told these values of one picture; the noise is of the seed."""
        ...

    def say(self, message: str) -> None:
        """One line of progress."""
        ...


class Metric(ABC):
    """A score. A part of this kind is a frozen dataclass whose fields are its options.

    figure: of what it answers, the one that a comparison compares, a number or a share; "" where none can be. lower: less of it
    is better. by: a mapping in its answer that holds the same figure prompt by prompt, or picture by picture; "" where there is
    none. groups: a mapping that holds it for pictures of one sort, such as those of a pair that was never trained on, or figures
    that are read beside it.
    """

    figure: ClassVar[str] = ""
    lower: ClassVar[bool] = False
    by: ClassVar[str] = ""
    groups: ClassVar[str] = ""

    @abstractmethod
    def __call__(self, examinee: Examinee) -> Mapping[str, Any]:
        """Figures by name, JSON-ready, each with what is needed to read it (its floor, its interval, its n)."""
