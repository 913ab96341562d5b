"""`adagn`: time and condition, summed, scale and shift what was normalised (Dhariwal and Nichol 2021, arXiv 2105.05233, 3.1).

The paper: AdaGN(h, y) = y_s GroupNorm(h) + y_b, [y_s, y_b] a linear projection of the time and class embedding. Its code adds
the two embeddings, takes SiLU of the sum and writes y_s as 1 + s. Two departures: each site embeds the condition by itself,
where ADM has one table for all; and every `norm` site is filled, where ADM modulates the second normalisation of a residual
block alone (`sites: ["*.norm2"]` does so).
"""

from __future__ import annotations

from cdkit.hooks import hookimpl
from cdkit.parts import Adaptable, Layout, Site, Stream, Tap, Widths, layers_of
from torch import Tensor, nn
from torch.nn import functional as F

from cdkit_injectors.inner import Inner, inside
from cdkit_injectors.modulation import beside, modulate, silent_linear
from cdkit_injectors.streams import only, pooled_of


class AdaGNTap(Tap):
    """h -> h (1 + s) + b with s and b = project(SiLU(emb + told(pooled))). At birth h itself: `project` starts at zero.

    Signal: told(pooled) (B, E). What it says depends on the time, so it is projected at every step. inner: they meet at that
    width and not at E, as heard(emb) + told(pooled).
    """

    def __init__(self, channels: int, width: int, *, embedding: int, layout: Layout, inner: int | None = None) -> None:
        super().__init__()
        self.layout: Layout = layout
        self.told = nn.Linear(width, inner or embedding)
        self.heard = nn.Identity() if inner is None else nn.Linear(embedding, inner, bias=False)
        self.project = silent_linear(inner or embedding, 2 * channels)

    def prepare(self, *streams: Stream) -> Tensor:
        return self.told(pooled_of(streams[0]).to(self.told.weight.dtype))

    def adaptable(self) -> dict[str, Adaptable]:
        return {name: Adaptable(layer) for name, layer in layers_of(self)}

    def modulation(self, signal: Tensor, emb: Tensor) -> tuple[Tensor, Tensor]:
        both = F.silu(self.heard(emb.to(self.project.weight.dtype)) + signal)
        scale, shift = self.project(both).chunk(2, dim=1)
        return scale, shift

    def forward(self, h: Tensor, signal: Tensor, emb: Tensor) -> Tensor:
        scale, shift = (beside(vector, self.layout) for vector in self.modulation(signal, emb))
        return modulate(h, scale, shift)


class AdaGN:
    """Fills `norm` sites; reads one stream's pooled vector, and the time embedding. Raises ValueError where it has none.

    inner: the width at which the two meet; none: that of the time embedding.
    """

    def __init__(self, streams: tuple[str, ...], widths: tuple[Widths, ...], *, inner: Inner | None = None) -> None:
        _, self.width = only("adagn", streams, widths, "pooled")
        self.inner = inner

    def tap(self, site: Site) -> Tap | None:
        if site.kind != "norm":
            return None
        inner = inside(self.inner, site.name)
        return AdaGNTap(site.width, self.width, embedding=site.embedding, layout=site.layout, inner=inner)


@hookimpl
def cdkit_injector() -> type[AdaGN]:
    return AdaGN
