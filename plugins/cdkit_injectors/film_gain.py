"""`film_gain`: the condition scales every normalised feature and shifts none (EDM2: Karras et al. 2024, arXiv 2312.02696).

EDM2's blocks multiply by 1 + gain · Linear(emb), the Linear without a bias and the gain one learned number that starts at zero.
Three departures: ours hears the condition alone, where EDM2 has summed it with the time; it stands after a normalisation, where
EDM2's blocks have a convolution and no normalisation; and its Linear is a plain one, where EDM2 fixes the norm of every weight.
"""

from __future__ import annotations

import torch
from cdkit.hooks import hookimpl
from cdkit.parts import Adaptable, Layout, Site, Stream, Tap, Widths, layers_of
from torch import Tensor, nn

from cdkit_injectors.inner import Inner, inside
from cdkit_injectors.modulation import beside
from cdkit_injectors.streams import only, pooled_of


class FilmGainTap(Tap):
    """h -> h (1 + gain · project(pooled)), channel by channel. At birth h itself: `gain`, one number, starts at zero.

    Signal: the scale (B, C), gain included. A pooled vector of zeros leaves h, for there is no bias.
    """

    def __init__(self, channels: int, width: int, *, layout: Layout, inner: int | None = None) -> None:
        super().__init__()
        self.layout: Layout = layout
        self.project = scales(width, channels, inner)
        self.gain = nn.Parameter(torch.zeros(1))

    def prepare(self, *streams: Stream) -> Tensor:
        return self.gain * self.project(pooled_of(streams[0]).to(self.gain.dtype))

    def adaptable(self) -> dict[str, Adaptable]:
        return {name: Adaptable(layer) for name, layer in layers_of(self)}

    def forward(self, h: Tensor, signal: Tensor, emb: Tensor) -> Tensor:
        del emb
        return (h * (1 + beside(signal, self.layout))).to(h.dtype)


def scales(width: int, channels: int, inner: int | None) -> nn.Linear | nn.Sequential:
    """A pooled vector (B, width) -> (B, channels), without a bias, so that zeros stay zeros."""
    if inner is None:
        return nn.Linear(width, channels, bias=False)
    return nn.Sequential(nn.Linear(width, inner, bias=False), nn.SiLU(), nn.Linear(inner, channels, bias=False))


class FilmGain:
    """Fills `norm` sites; reads one stream's pooled vector. Raises ValueError where it has none.

    inner: hidden channels of an MLP, with SiLU, from the vector to the scale; none: one Linear, as in EDM2.
    """

    def __init__(self, streams: tuple[str, ...], widths: tuple[Widths, ...], *, inner: Inner | None = None) -> None:
        _, self.width = only("film_gain", streams, widths, "pooled")
        self.inner = inner

    def tap(self, site: Site) -> Tap | None:
        if site.kind != "norm":
            return None
        return FilmGainTap(site.width, self.width, layout=site.layout, inner=inside(self.inner, site.name))


@hookimpl
def cdkit_injector() -> type[FilmGain]:
    return FilmGain
