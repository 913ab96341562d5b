"""`film`: the condition scales and shifts every normalised feature (Perez 2018, arXiv 1709.07871; ADM's AdaGN, 2105.05233)."""

from __future__ import annotations

from cdkit.hooks import hookimpl
from cdkit.parts import Adaptable, Layout, Site, Stream, Tap, Widths, layers_of
from torch import Tensor

from cdkit_injectors.inner import Inner, inside, silent
from cdkit_injectors.modulation import beside, modulate
from cdkit_injectors.streams import only, pooled_of


class FilmTap(Tap):
    """h -> h (1 + scale) + shift, channel by channel. At birth h itself: `project` starts at zero.

    Signal: scale and shift (B, C).
    """

    def __init__(self, channels: int, width: int, *, layout: Layout, inner: int | None = None) -> None:
        super().__init__()
        self.layout: Layout = layout
        self.project = silent(width, 2 * channels, inner)

    def prepare(self, *streams: Stream) -> tuple[Tensor, ...]:
        return self.project(pooled_of(streams[0]).to(next(self.parameters()).dtype)).chunk(2, dim=1)

    def adaptable(self) -> dict[str, Adaptable]:
        return {name: Adaptable(layer) for name, layer in layers_of(self)}

    def modulation(self, signal: tuple[Tensor, ...], emb: Tensor) -> tuple[Tensor, Tensor]:
        del emb
        scale, shift = signal
        return scale, shift

    def forward(self, h: Tensor, signal: tuple[Tensor, ...], emb: Tensor) -> Tensor:
        del emb
        scale, shift = (beside(vector, self.layout) for vector in signal)
        return modulate(h, scale, shift)


class Film:
    """Fills `norm` sites; reads one stream's pooled vector. Raises ValueError where it has none.

    inner: hidden channels of an MLP, with SiLU, from the vector to scale and shift; none: one Linear.
    """

    def __init__(self, streams: tuple[str, ...], widths: tuple[Widths, ...], *, inner: Inner | None = None) -> None:
        _, self.width = only("film", streams, widths, "pooled")
        self.inner = inner

    def tap(self, site: Site) -> Tap | None:
        if site.kind != "norm":
            return None
        return FilmTap(site.width, self.width, layout=site.layout, inner=inside(self.inner, site.name))


@hookimpl
def cdkit_injector() -> type[Film]:
    return Film
