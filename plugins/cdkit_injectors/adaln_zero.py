"""`adaln_zero`: scale and shift after every normalisation, and a gate on every branch (Peebles and Xie 2023, arXiv 2212.09748).

The paper's gates start at zero, which makes its blocks pass on what they get. A U-Net's branches would then be silent until
the condition opened them, so ours start at one and the network starts as the one without the condition.
"""

from __future__ import annotations

from cdkit.hooks import hookimpl
from cdkit.parts import Adaptable, Layout, Site, Stream, Tap, Widths, layers_of
from torch import Tensor
from torch.nn import functional as F

from cdkit_injectors.inner import Inner, inside, silent
from cdkit_injectors.modulation import beside, modulate
from cdkit_injectors.streams import only, pooled_of


class ModulationTap(Tap):
    """h -> h (1 + scale) + shift with scale and shift = project(SiLU(pooled)). At birth h itself: `project` starts at zero.

    Signal: scale and shift (B, C).
    """

    def __init__(self, channels: int, width: int, *, layout: Layout, inner: int | None = None) -> None:
        super().__init__()
        self.layout: Layout = layout
        self.project = silent(width, 2 * channels, inner)

    def prepare(self, *streams: Stream) -> tuple[Tensor, ...]:
        return self.project(F.silu(pooled_of(streams[0])).to(next(self.parameters()).dtype)).chunk(2, dim=1)

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


class GateTap(Tap):
    """h -> h (birth + project(SiLU(pooled))), channel by channel. Signal: the gate (B, C).

    With birth 1 it returns h itself when new. With birth 0, the published start, it returns zero: the branch is silent until
    the gate opens, which is no identity but what the paper found to train best in transformers.
    """

    def __init__(self, channels: int, width: int, *, layout: Layout, birth: int, inner: int | None = None) -> None:
        super().__init__()
        self.layout: Layout = layout
        self.birth = birth
        self.project = silent(width, channels, inner)

    def prepare(self, *streams: Stream) -> Tensor:
        return self.birth + self.project(F.silu(pooled_of(streams[0])).to(next(self.parameters()).dtype))

    def adaptable(self) -> dict[str, Adaptable]:
        return {name: Adaptable(layer) for name, layer in layers_of(self)}

    def forward(self, h: Tensor, signal: Tensor, emb: Tensor) -> Tensor:
        del emb
        return (h * beside(signal, self.layout)).to(h.dtype)


class AdaLNZero:
    """Fills `norm` and `branch` sites; reads one stream's pooled vector. Raises ValueError where it has none.

    published: gates start at zero, as in the paper, so that at birth no branch is heard; else at one, the identity.
    inner: hidden channels of an MLP, with SiLU, in place of the one Linear that there is where none is given.
    """

    def __init__(
        self,
        streams: tuple[str, ...],
        widths: tuple[Widths, ...],
        *,
        published: bool = False,
        inner: Inner | None = None,
    ) -> None:
        _, self.width = only("adaln_zero", streams, widths, "pooled")
        self.birth = 0 if published else 1
        self.inner = inner

    def tap(self, site: Site) -> Tap | None:
        inner = inside(self.inner, site.name)
        if site.kind == "norm":
            return ModulationTap(site.width, self.width, layout=site.layout, inner=inner)
        if site.kind == "branch":
            return GateTap(site.width, self.width, layout=site.layout, birth=self.birth, inner=inner)
        return None


@hookimpl
def cdkit_injector() -> type[AdaLNZero]:
    return AdaLNZero
