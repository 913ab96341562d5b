"""What a model learns from, and who hears how that goes: the kinds `dataset` and `callback`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from cdkit.figures import SampleShape


@dataclass(frozen=True, slots=True)
class Example:
    """One picture and everything that is true of it."""

    id: str  # stable whatever the split, the order or the machine: randomness is keyed by it
    image: Tensor  # (C, H, W) float32 in [-1, 1]
    values: Mapping[str, tuple[Any, ...]]  # by column, raw values that are equally true: {"text": ("a cat", "猫"), ...}


class Dataset(ABC):
    """Pictures with what is said of them. Made as cls(**options); it reads only files that `fetch` or its package left.

    Columns that every set names alike: `text` (captions in every language), `text.en`, `text.zh`, `label` (a class name).
    """

    columns: tuple[str, ...]
    shape: SampleShape
    licence: ClassVar[str] = ""  # of the pictures, SPDX or words; "" where nobody has stated it
    classes: tuple[str, ...] = ()  # names that `label` takes, in a fixed order; () where there are no classes
    files: Sequence[int] = ()  # training pictures in each file, in a row; shuffling keeps near; () shuffles all of them
    buckets: Sequence[int] = ()  # of each training picture, which shape it has: a batch is of one; () all have `shape`
    latent: bool = False  # are its pictures latents already, and its values streams?
    most_unreadable: int = 0  # training pictures that may raise DataError when they are asked for: the next one is taken

    @abstractmethod
    def split(self, name: Literal["train", "validation", "test"]) -> Sequence[Example]:
        """Pictures of one split; no two splits share a picture. DataError if the files are not there, saying how to get them."""

    @abstractmethod
    def fingerprint(self) -> str:
        """Hex digest that changes when any picture, caption or split does."""

    def augment(self, example: Example, generator: torch.Generator) -> Example:
        """A variation for training, drawn from the generator; captions must stay true. By default the example itself."""
        del generator
        return example

    def prompts(self, language: str) -> Mapping[str, tuple[str, ...]]:
        """What to say, class by class, in a language: {"cat": ("a cat", ...)}; empty where it has no words for it."""
        del language
        return {}

    @classmethod
    def fetch(cls, cache: Path) -> None:
        """Obtain what is not bundled into the cache folder, check its sha256. EnvironmentFault with the way by hand."""
        del cache


class Callback:
    """Hears how a training goes. A part of this kind is a frozen dataclass whose fields are its options.

    It is handed numbers and folders, never the model in hand, so it cannot change what is trained; who wants to draw or score
    loads the checkpoint that was just saved. Of these it defines those that it needs. One that raises is set aside, and named:
    the training goes on without it.
    """

    def began(self, run: Path, step: int, steps: int) -> None:
        """A training of `steps` steps begins in the run's folder, or goes on after `step` of them."""

    def logged(self, step: int, values: Mapping[str, float]) -> None:
        """What the journal writes of a step: `loss`, `lr`, `grad_norm`, `seconds`, and `waited`, a share of the time."""

    def saved(self, step: int, checkpoint: Path) -> None:
        """A checkpoint was committed: this folder, whole."""

    def drawn(self, step: int, picture: Path) -> None:
        """A grid of samples was drawn (PNG)."""

    def ended(self, step: int) -> None:
        """The training ended, was stopped or failed after so many steps; a checkpoint was saved unless it failed."""
