"""Slots: what a backbone gets when it opens a place, filled with every injector's tap in the spec's order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn

from cdkit.build.bounded import bounded
from cdkit.diffusion.random import derive
from cdkit.errors import CdkitError, SpecError
from cdkit.parts import ConditioningInjector, Filled, Joined, Modulating, Modulation, Passing, SequenceTap, Signals, Site, Tap
from cdkit.spec.place import Place


class Slot(Passing, Filled):
    """Every tap at one site, one after the other; with none it returns h as it came, and says so."""

    def __init__(self, site: Site, taps: Mapping[str, Tap | SequenceTap]) -> None:
        super().__init__()
        self.site = site
        self.key = site.name  # of its signals
        self.taps = nn.ModuleDict(taps)

    @property
    def passes(self) -> bool:
        return not len(self.taps)

    def forward(self, h: Tensor, signals: Signals, emb: Tensor) -> Tensor:
        for name, tap in self.taps.items():
            h = tap(h, signals[self.key][name], emb)
        return h

    @property
    def methods(self) -> Sequence[str]:
        return list(self.taps)


class NormSlot(Slot, Modulating):
    """The slot of a `norm` site: scales and shifts, one after the other, are a scale and a shift."""

    def modulation(self, signals: Signals, emb: Tensor) -> Modulation | None:
        whole: Modulation = (None, None)
        for name, tap in self.taps.items():
            assert isinstance(tap, Tap)
            more = tap.modulation(signals[self.key][name], emb)
            if more is None:
                return None
            whole = after(whole, more)
        return whole


def after(first: Modulation, second: Modulation) -> Modulation:
    """Two modulations as one: (h (1 + a) + b) (1 + c) + d = h (1 + a + c + a c) + b (1 + c) + d."""
    (a, b), (c, d) = first, second
    if a is None or b is None:
        return second
    return first if c is None or d is None else (a + c + a * c, b * (1 + c) + d)


class SequenceSlot(Slot):
    """The slot of a `sequence` site: every tap's tokens, or keys and values, joined behind the picture's own."""

    def forward(self, h: Tensor, signals: Signals, emb: Tensor) -> Joined:  # pyright: ignore[reportIncompatibleMethodOverride]
        # A Mount's slot is called by the site's kind, and `sequence` is the one kind that answers Joined (parts.Mount).
        joined = Joined(h)
        for name, tap in self.taps.items():
            joined = append(joined, tap(h, signals[self.key][name], emb))
        return joined


SLOTS: Mapping[str, type[Slot]] = {"sequence": SequenceSlot, "norm": NormSlot}


def append(joined: Joined, extra: Joined) -> Joined:
    """Two token sequences as one; a mask that was left unsaid is written out only if the other has one."""
    tokens = torch.cat([joined.tokens, extra.tokens.to(joined.tokens.dtype)], dim=1)
    mask = None if joined.mask is None and extra.mask is None else _masks(joined, extra)
    return Joined(tokens, mask, _behind(joined.keys, extra.keys), _behind(joined.values, extra.values))


def _behind(first: Tensor | None, second: Tensor | None) -> Tensor | None:
    """Keys or values (B, R, A), one behind the other."""
    parts = [part for part in (first, second) if part is not None]
    return torch.cat(parts, dim=1) if parts else None


def _masks(first: Joined, second: Joined) -> Tensor:
    """Over the keys of both: those of all tokens, then all that came projected."""
    (words, more), (other_words, others) = (
        _mask(joined).tensor_split([joined.tokens.shape[1]], dim=1) for joined in (first, second)
    )
    return torch.cat([words, other_words, more, others], dim=1)


def _mask(joined: Joined) -> Tensor:
    if joined.mask is not None:
        return joined.mask
    more = 0 if joined.keys is None else joined.keys.shape[1]
    batch, length, _ = joined.tokens.shape
    return torch.ones((batch, length + more), dtype=torch.bool, device=joined.tokens.device)


@dataclass(frozen=True, slots=True)
class Mounted:
    """An injector, the patterns of site names to which the spec confines it (none: everywhere), and where it says so."""

    injector: ConditioningInjector
    sites: Sequence[str] = ()
    place: Place | None = None

    def wants(self, site: Site) -> bool:
        return not self.sites or any(fnmatchcase(site.name, pattern) for pattern in self.sites)


@dataclass(slots=True)
class Mounting:
    """The Mount that a backbone is made with. Taps are drawn in a forked random state keyed by (seed, site, injector).

    So the backbone's own weights are bit-equal whatever is mounted, and a tap's weights do not depend on its neighbours.
    """

    injectors: Mapping[str, Mounted]
    seed: int = 0
    slots: dict[str, Slot] = field(default_factory=dict[str, Slot])

    def __call__(self, site: Site) -> nn.Module:
        if site.name in self.slots:
            raise ValueError(f"the backbone names two sites {site.name!r}; a site's name must be unique")
        made = {name: self._tap(name, mounted, site) for name, mounted in self.injectors.items()}
        taps = {name: tap for name, tap in made.items() if tap is not None}
        slot = SLOTS.get(site.kind, Slot)(site, taps)
        self.slots[site.name] = slot
        return slot

    def _tap(self, name: str, mounted: Mounted, site: Site) -> Tap | SequenceTap | None:
        if not mounted.wants(site):
            return None
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(derive(self.seed, "tap", site.name, name))  # of a GPU nothing is drawn here
            try:
                with bounded():
                    return mounted.injector.tap(site)
            except (ValueError, TypeError) as error:
                if mounted.place is None or isinstance(error, CdkitError):
                    raise
                raise SpecError(f"{mounted.place}: injectors.{name}: {error}") from error

    @property
    def sites(self) -> list[Site]:
        """Every place that the backbone opened, in the order in which it did."""
        return [slot.site for slot in self.slots.values()]

    def sites_of(self, injector: str) -> list[Site]:
        """The places that this injector filled."""
        return [slot.site for slot in self.slots.values() if injector in slot.taps]
