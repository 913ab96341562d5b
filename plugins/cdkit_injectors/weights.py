"""`weights`: the condition writes a small matrix, and every feature vector passes it (cf. CAN, Cai 2024, arXiv 2404.01143).

CAN generates weights from condition and time, and fuses them with those of chosen layers. Ours leaves the network's layers as
they are and adds a map of low rank beside them, of the condition alone: its identity at birth is exact, its price is the
rank's, and it is written once a batch.
"""

from __future__ import annotations

from typing import Literal

import torch
from cdkit.hooks import hookimpl
from cdkit.parts import Adaptable, Layout, Positive, Site, Stream, Tap, Widths, layers_of
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from cdkit_injectors.inner import Inner, whole
from cdkit_injectors.modulation import silent_linear
from cdkit_injectors.streams import only, pooled_of


class WeightsTap(Tap):
    """h -> h + U Vᵀ norm(h) / √C at every place, U and V (C, rank) of each sample its own. At birth h itself: `to_u` is zero.

    norm: over channels, without weights of its own. 1 / √C keeps Vᵀ norm(h) as large at every width.
    Signal: U and V (B, C, rank).
    """

    def __init__(self, channels: int, width: int, *, rank: int, layout: Layout) -> None:
        super().__init__()
        self.rank = rank
        self.layout: Layout = layout
        self.to_u = silent_linear(width, channels * rank)
        self.to_v = nn.Linear(width, channels * rank)

    def prepare(self, *streams: Stream) -> tuple[Tensor, ...]:
        pooled = pooled_of(streams[0]).to(self.to_u.weight.dtype)
        return tuple(rearrange(made(pooled), "b (c rank) -> b c rank", rank=self.rank) for made in (self.to_u, self.to_v))

    def adaptable(self) -> dict[str, Adaptable]:
        return {name: Adaptable(layer) for name, layer in layers_of(self)}

    def forward(self, h: Tensor, signal: tuple[Tensor, ...], emb: Tensor) -> Tensor:
        del emb
        if self.layout == "map":
            return h + self._added(h.movedim(1, -1), *signal).movedim(-1, 1)
        return h + self._added(h, *signal)

    def _added(self, h: Tensor, u: Tensor, v: Tensor) -> Tensor:
        """h (B, ..., C) -> the same shape and dtype."""
        channels = h.shape[-1:]
        seen = torch.einsum("b...c,bcr->b...r", F.layer_norm(h, channels).to(v.dtype), v) / channels.numel() ** 0.5
        return torch.einsum("b...r,bcr->b...c", seen, u).to(h.dtype)


class Weights:
    """Fills `norm` sites, or `branch` sites; reads one stream's pooled vector (P). Raises ValueError where it has none.

    rank: of the map; a site of C channels costs 2 · C · rank · (P + 1) parameters. at: which kind of site.
    inner: in its place, a rank that need not be whole: 2.5 is 3 at half of the sites.
    """

    def __init__(
        self,
        streams: tuple[str, ...],
        widths: tuple[Widths, ...],
        *,
        rank: Positive = 4,
        at: Literal["norm", "branch"] = "norm",
        inner: Inner | None = None,
    ) -> None:
        _, self.width = only("weights", streams, widths, "pooled")
        self.rank = inner or rank
        self.at = at

    def tap(self, site: Site) -> Tap | None:
        if site.kind != self.at:
            return None
        return WeightsTap(site.width, self.width, rank=whole(self.rank, site.name), layout=site.layout)


@hookimpl
def cdkit_injector() -> type[Weights]:
    return Weights
