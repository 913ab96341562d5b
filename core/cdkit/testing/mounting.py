"""Slots of the kit's own, so that a check of an injector needs nothing of the builder's."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any, Protocol
from zlib import crc32

import torch
from torch import Tensor, nn

from cdkit.parts import ConditioningInjector, Joined, SequenceTap, Signals, Site, Tap


class Slots(Protocol):
    """A Mount that remembers its slots by site name: each with its `site` and its `taps`, by injector."""

    @property
    def slots(self) -> Mapping[str, Any]: ...

    def __call__(self, site: Site) -> nn.Module: ...


class Slot(nn.Module):
    """Every tap at one site, one after the other; with none h as it came, and Joined(h) at a `sequence` site."""

    def __init__(self, site: Site, taps: Mapping[str, Tap | SequenceTap]) -> None:
        super().__init__()
        self.site = site
        self.taps = nn.ModuleDict(taps)

    def forward(self, h: Tensor, signals: Signals, emb: Tensor) -> Tensor | Joined:
        if self.site.kind == "sequence":
            extra = [tap(h, signals[self.site.name][name], emb) for name, tap in self.taps.items()]
            return joined([Joined(h), *extra])
        for name, tap in self.taps.items():
            h = tap(h, signals[self.site.name][name], emb)
        return h


def joined(parts: list[Joined]) -> Joined:
    """Token sequences as one, with every mask written out; behind them keys and values that came projected."""
    tokens = torch.cat([part.tokens for part in parts], dim=1)
    more = [part for part in parts if part.keys is not None]
    masks = [_mask(part)[:, : part.tokens.shape[1]] for part in parts] + [_mask(part)[:, part.tokens.shape[1] :] for part in more]
    keys, values = (torch.cat([getattr(part, form) for part in more], dim=1) if more else None for form in ("keys", "values"))
    return Joined(tokens, torch.cat(masks, dim=1), keys, values)


def _mask(part: Joined) -> Tensor:
    more = 0 if part.keys is None else part.keys.shape[1]
    batch, length, _ = part.tokens.shape
    return torch.ones((batch, length + more), dtype=torch.bool, device=part.tokens.device) if part.mask is None else part.mask


class Mounting:
    """A Mount: each tap is drawn in a forked random state keyed by site and injector. `sites`: patterns; none: all."""

    def __init__(self, injectors: Mapping[str, ConditioningInjector], seed: int = 0, sites: tuple[str, ...] = ()) -> None:
        self.injectors, self.seed, self.sites = injectors, seed, sites
        self.slots: dict[str, Slot] = {}

    def __call__(self, site: Site) -> nn.Module:
        made = {name: self._tap(name, injector, site) for name, injector in self.injectors.items() if self._wants(site)}
        self.slots[site.name] = Slot(site, {name: tap for name, tap in made.items() if tap is not None})
        return self.slots[site.name]

    def _wants(self, site: Site) -> bool:
        return not self.sites or any(fnmatchcase(site.name, pattern) for pattern in self.sites)

    def _tap(self, name: str, injector: ConditioningInjector, site: Site) -> Tap | SequenceTap | None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed + crc32(f"{site.name}/{name}".encode()))
            return injector.tap(site)
