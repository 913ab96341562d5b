"""`add`: the condition joins the time embedding, as ADM's classes and SDXL's pooled text and sizes do (arXiv 2307.01952)."""

from __future__ import annotations

from cdkit.hooks import hookimpl
from cdkit.parts import Adaptable, Positive, Site, Stream, Tap, Widths, layers_of
from torch import Tensor, nn

from cdkit_injectors.inner import Inner, inside
from cdkit_injectors.modulation import silent_linear
from cdkit_injectors.streams import only, pooled_of


class AddTap(Tap):
    """emb (B, E) -> emb + project(pooled). At birth emb itself: the last layer starts at zero. Signal: (B, E)."""

    def __init__(self, channels: int, width: int, *, hidden: int | None) -> None:
        super().__init__()
        first = [nn.Linear(width, hidden), nn.SiLU()] if hidden else []
        self.project = nn.Sequential(*first, silent_linear(hidden or width, channels))

    def prepare(self, *streams: Stream) -> Tensor:
        return self.project(pooled_of(streams[0]).to(next(self.parameters()).dtype))

    def adaptable(self) -> dict[str, Adaptable]:
        return {name: Adaptable(layer) for name, layer in layers_of(self)}

    def forward(self, h: Tensor, signal: Tensor, emb: Tensor) -> Tensor:
        del emb
        return h + signal.to(h.dtype)


class Add:
    """Fills the `embed` site; reads one stream's pooled vector. Raises ValueError where it has none.

    hidden: width of a first Linear and SiLU (SDXL's add_embedding has them, as wide as the time embedding); none: one Linear.
    inner: the same by the name that it has in every method. ValueError where both are given.
    """

    def __init__(
        self,
        streams: tuple[str, ...],
        widths: tuple[Widths, ...],
        *,
        hidden: Positive | None = None,
        inner: Inner | None = None,
    ) -> None:
        _, self.width = only("add", streams, widths, "pooled")
        if hidden is not None and inner is not None:
            raise ValueError(f"add: hidden is {hidden} and inner is {inner:g}, but both name one width; expected one of the two")
        self.inner = hidden if inner is None else inner

    def tap(self, site: Site) -> Tap | None:
        hidden = inside(self.inner, site.name)
        return AddTap(site.width, self.width, hidden=hidden) if site.kind == "embed" else None


@hookimpl
def cdkit_injector() -> type[Add]:
    return Add
