"""`adaln_single`: one MLP speaks for all sites, and each adds a small table of its own (PixArt-alpha, arXiv 2310.00426, 2.3).

PixArt makes S = Linear(SiLU(time)) once for all blocks, and block i modulates by S + E_i, E_i learned. Ours, at site i of C
channels, with S of W channels, W a fixed width:

    S = make(SiLU(emb + told(pooled)))      rows shift, scale and gate, each of W
    S_i = fit_C(S) + E_i                    rows of C; fit_C is the identity where C is W

A U-Net's sites differ in width, so one Linear a width (not a site), `fit_C`, takes S there. Where all are as wide as W, as in a
transformer, there is none, and that departure from PixArt is gone. What stays: PixArt makes two such sets, one for attention
and one for the feed-forward, where ours is one set for every site, told apart by their tables alone; S hears the pooled
condition beside the time; and for the identity at birth S and E_i start at zero and gates are 1 + gate.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from cdkit.hooks import hookimpl
from cdkit.parts import Adaptable, Layout, Positive, Site, Stream, Tap, Widths, layers_of
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from cdkit_injectors.inner import Inner, inside
from cdkit_injectors.modulation import beside, modulate, silent_linear
from cdkit_injectors.streams import only, pooled_of

ROWS = 3  # shift, scale, gate: PixArt's order


class Shared(nn.Module):
    """emb (B, E) and told(pooled) (B, E) -> rows (B, 3, W) of shift, scale and gate. At birth zero: `make` starts there.

    `fits`: W -> C for every other width C, drawn when the first site of that width is met. inner: time and condition meet at
    that width and not at E, as heard(emb) + told(pooled).
    """

    def __init__(self, width: int, pooled: int, embedding: int, inner: int | None = None) -> None:
        super().__init__()
        self.width = width
        self.embedding = embedding
        self.told = nn.Linear(pooled, inner or embedding)
        self.heard = nn.Identity() if inner is None else nn.Linear(embedding, inner, bias=False)
        self.make = silent_linear(inner or embedding, ROWS * width)
        self.fits = nn.ModuleDict()

    def meet(self, channels: int) -> None:
        """Be ready for a site of so many channels."""
        if channels != self.width and str(channels) not in self.fits:
            self.fits[str(channels)] = nn.Linear(self.width, channels, bias=False)

    def forward(self, emb: Tensor, told: Tensor, rows: slice, channels: int) -> Tensor:
        dtype = self.make.weight.dtype
        made = self.make(F.silu(self.heard(emb.to(dtype)) + told))
        asked = rearrange(made, "b (rows w) -> b rows w", rows=ROWS)[:, rows]
        return asked if channels == self.width else self.fits[str(channels)](asked)


class SingleTap(Tap):
    """S_i = fit_C(S) + table, those rows of it that a site of this kind uses. Signal: told(pooled) (B, E).

    `shared` is a child of the tap that was made first, which owns it; the others borrow it, so that a state dict holds it once.
    """

    rows: ClassVar[slice]

    def __init__(self, site: Site, shared: Shared, *, owns: bool) -> None:
        super().__init__()
        self.layout: Layout = site.layout
        self.table = nn.Parameter(torch.zeros(self.rows.stop - self.rows.start, site.width))
        self._borrowed = (shared,)  # a module in a tuple is nobody's child
        if owns:
            self.shared = shared

    def prepare(self, *streams: Stream) -> Tensor:
        told = self._borrowed[0].told
        return told(pooled_of(streams[0]).to(told.weight.dtype))

    def adaptable(self) -> dict[str, Adaptable]:
        """The shared layers, of the tap that owns them; a table is no layer."""
        return {name: Adaptable(layer) for name, layer in layers_of(self)}

    def said(self, signal: Tensor, emb: Tensor) -> list[Tensor]:
        """Its rows, each to meet h."""
        rows = self._borrowed[0](emb, signal, self.rows, self.table.shape[1]) + self.table
        return [beside(row, self.layout) for row in rows.unbind(1)]


class ModulationTap(SingleTap):
    """h -> h (1 + scale) + shift. At birth h itself."""

    rows = slice(0, 2)

    def forward(self, h: Tensor, signal: Tensor, emb: Tensor) -> Tensor:
        shift, scale = self.said(signal, emb)
        return modulate(h, scale, shift)


class GateTap(SingleTap):
    """h -> h (1 + gate). At birth h itself; PixArt has no 1, so its gates start at what its tables hold."""

    rows = slice(2, 3)

    def forward(self, h: Tensor, signal: Tensor, emb: Tensor) -> Tensor:
        (gate,) = self.said(signal, emb)
        return (h * (1 + gate)).to(h.dtype)


TAPS: Mapping[str, type[SingleTap]] = {"norm": ModulationTap, "branch": GateTap}


class AdaLNSingle:
    """Fills `norm` and `branch` sites; reads one stream's pooled vector, and the time embedding.

    width: W, channels of the shared rows; none: those of the first site. inner: the width at which time and condition meet;
    none: that of the time embedding. One object is mounted on one network: its first tap
    owns the MLP. A site that it meets again is another network's, and starts another MLP. Raises ValueError where the stream
    has no pooled vector, or where the time embedding is not as wide at every site.
    """

    def __init__(
        self,
        streams: tuple[str, ...],
        widths: tuple[Widths, ...],
        *,
        width: Positive | None = None,
        inner: Inner | None = None,
    ) -> None:
        _, self.pooled = only("adaln_single", streams, widths, "pooled")
        self.width = width
        self.inner = inner
        self.shared: Shared | None = None
        self.met: set[str] = set()

    def tap(self, site: Site) -> Tap | None:
        if site.kind not in TAPS:
            return None
        if site.name in self.met:
            self.shared, self.met = None, set()
        self.met.add(site.name)
        owns = self.shared is None
        inner = inside(self.inner, site.name)
        self.shared = shared = self.shared or Shared(self.width or site.width, self.pooled, site.embedding, inner)
        if site.embedding != shared.embedding:
            raise ValueError(
                f"adaln_single at {site.name}: the time embedding is {site.embedding} wide here and {shared.embedding} at the "
                f"sites before, but one MLP reads it for all; confine it to sites where it is one width (`sites:`)"
            )
        shared.meet(site.width)
        return TAPS[site.kind](site, shared, owns=owns)

    @classmethod
    def narrow(cls, options: Mapping[str, Any]) -> Mapping[str, Any]:
        """As wide as the narrow network's first site."""
        return {name: value for name, value in options.items() if name != "width"}


@hookimpl
def cdkit_injector() -> type[AdaLNSingle]:
    return AdaLNSingle
