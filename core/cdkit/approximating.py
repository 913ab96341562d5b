"""How a sampling may be had for less than all of the network at every step: the kind `approximation`, and where it takes hold."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor, nn

from cdkit.figures import SampleShape
from cdkit.site import Site


class Around(Protocol):
    """Who answers in a module's place while a picture is drawn. Pure: what it remembers, it hands back."""

    def __call__(
        self, own: Callable[..., Any], given: tuple[Any, ...], phase: Hashable, kept: Tensor | None
    ) -> tuple[Any, Tensor | None]:
        """The answer, and what to keep of it for later calls, batch first, or None.

        own: the module's own forward. given: what it is called with. phase: of this step. kept: what was kept of the same rows
        at an earlier step of this sampling, None if nothing was.
        """
        ...


@dataclass(frozen=True, slots=True)
class Detour:
    """A module of the network, and who answers in its place."""

    module: nn.Module
    around: Around


class Approximation(ABC):
    """A cheaper way through a network while it draws. A part of this kind is a frozen dataclass whose fields are its options.

    It is off unless a spec names it under `approximate`, and the network knows nothing of it.
    """

    @abstractmethod
    def detours(self, network: nn.Module, sample: SampleShape) -> Sequence[Detour]:
        """Where it takes hold of a backbone that draws such samples. ValueError where there is no such place."""

    def phase(self, index: int, steps: int) -> Hashable:
        """What its detours are told at a step of the grid. Steps of one phase are taken alike: a GPU may record one for all."""
        del index, steps
        return None


class Nested(ABC):
    """A backbone of which one part lies within another, as a U-Net's levels do.

    below: what lies below each skip, the outermost first; each lies within the one before it. A module of one map in, the skip,
    and one map out, which is joined to it.
    """

    below: Sequence[nn.Module]


class SelfAttending(ABC):
    """A self-attention, called as attention(joined, n): a Joined of which n tokens are the picture's own -> (B, n, C).

    stride: rows of the picture in a row of tokens, which lie row by row.
    """

    stride: int


class Filled(ABC):
    """A slot as an approximation finds it: its site, and the names of the methods there. Called as slot(h, signals, emb)."""

    site: Site

    @property
    @abstractmethod
    def methods(self) -> Sequence[str]: ...
