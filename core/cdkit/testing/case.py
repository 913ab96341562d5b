"""InjectorCase: one or more injectors, the streams they read and the network they are mounted on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias
from zlib import crc32

import torch
from torch import Tensor, nn

from cdkit.parts import Backbone, ConditioningInjector, Mount, SampleShape, Signals, Stream, Widths
from cdkit.testing.mounting import Mounting, Slots
from cdkit.testing.reference import Reference
from cdkit.testing.streams import cast, random_stream

InjectorFactory: TypeAlias = Callable[[tuple[str, ...], tuple[Widths, ...]], ConditioningInjector]
BackboneFactory: TypeAlias = Callable[[Mount, SampleShape], Backbone]
MountingFactory: TypeAlias = Callable[[Mapping[str, ConditioningInjector], int, tuple[str, ...]], Slots]
EVERY_FORM = Widths(tokens=8, pooled=6, spatial=2)
BATCH = 3
TINY = SampleShape(3, 8, 8)


@dataclass(frozen=True, slots=True)
class InjectorCase:
    """What is checked. `widths`: one for each stream that every injector reads; `sample` and `backbone`: where it is mounted.

    sites: patterns of site names to which it is confined; none: everywhere. mounting: what makes the slots.
    """

    factories: Mapping[str, InjectorFactory]
    widths: tuple[Widths, ...] = (EVERY_FORM,)
    backbone: BackboneFactory = Reference
    sample: SampleShape = TINY
    sites: tuple[str, ...] = ()
    mounting: MountingFactory = Mounting

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(f"stream{i}" for i in range(len(self.widths)))

    def streams(self, seed: int = 0, *, words: int = 5, dtype: torch.dtype = torch.float64) -> list[Stream]:
        """A random stream for each of the widths."""
        return [
            random_stream(widths, self.sample, batch=BATCH, words=words, seed=seed * 100 + i, dtype=dtype)
            for i, widths in enumerate(self.widths)
        ]

    def bare(self) -> InjectorCase:
        """The same network with nothing mounted."""
        return replace(self, factories={})

    def at(self, name: str) -> InjectorCase:
        """The same case, confined to the site of this name."""
        return replace(self, sites=(name,))

    def mounted(self, *, opened: bool = True, dtype: torch.dtype = torch.float64, seed: int = 0) -> Mounted:
        """The network with its taps; `opened`: the taps' zero parameters drawn afresh, as the network's own always are."""
        made = self.born(dtype, seed)
        open_zeros(made.network, taps=opened)
        return made

    def born(self, dtype: torch.dtype = torch.float64, seed: int = 0) -> Mounted:
        """The network with its taps as they are made, zeros and all: on the meta device under `torch.device("meta")`."""
        injectors = {name: factory(self.names, self.widths) for name, factory in self.factories.items()}
        mounting = self.mounting(injectors, seed, self.sites)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            network = self.backbone(mounting, self.sample).to(dtype).eval()
        return Mounted(network, mounting.slots, dtype, self.sample)


@dataclass(frozen=True, slots=True)
class Mounted:
    """A network with its taps in place."""

    network: Backbone
    slots: Mapping[str, Any]  # by site name, each with its `site` and its `taps`
    dtype: torch.dtype
    sample: SampleShape

    def prepare(self, streams: Sequence[Stream]) -> dict[str, dict[str, Any]]:
        """Every tap's signal, by site and injector."""
        said = [cast(stream, self.dtype) for stream in streams]
        return {
            name: {injector: tap.prepare(*said) for injector, tap in slot.taps.items()}  # pyright: ignore[reportCallIssue]
            for name, slot in self.slots.items()  # every module in `taps` is a Tap or a SequenceTap
        }

    def __call__(self, streams: Sequence[Stream]) -> Tensor:
        """What the network draws of the same noisy pictures, told these streams."""
        return self.draw(self.prepare(streams))

    def draw(self, signals: Signals, index: Tensor | None = None) -> Tensor:
        """What it draws of the same noisy pictures, or of those that the index names, with signals that are ready."""
        device = next(self.network.parameters()).device
        x = noisy(self.sample).to(device, self.dtype)
        t = torch.linspace(10, 990, BATCH, device=device)
        return self.network(x, t, signals) if index is None else self.network(x[index], t[index], signals)

    @property
    def taps(self) -> dict[str, nn.Parameter]:
        """The taps' parameters by name."""
        return {name: value for name, value in self.network.named_parameters() if ".taps." in f".{name}"}

    @property
    def filled(self) -> list[str]:
        """The names of the sites where something is mounted."""
        return [name for name, slot in self.slots.items() if len(slot.taps)]


def noisy(sample: SampleShape) -> Tensor:
    """The noisy pictures that every check draws from: (B, C, H, W) float64."""
    return torch.randn((BATCH, *sample), generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def open_zeros(network: nn.Module, *, taps: bool) -> None:
    """Draw every parameter that is zero throughout, keyed by its name; those of taps only if asked for."""
    for name, parameter in network.named_parameters():
        if not bool(parameter.any()) and (taps or ".taps." not in f".{name}"):
            fan_in = max(1, parameter[0].numel() if parameter.dim() else 1)  # a gate may be a single number
            draws = torch.Generator().manual_seed(crc32(name.encode()))
            with torch.no_grad():
                parameter.copy_(torch.randn(parameter.shape, generator=draws, dtype=torch.float64) / fan_in**0.5)
