"""`concat`: a map beside the noisy picture, as more input channels (Saharia 2022, arXiv 2111.05826; SD inpainting).

Convolving the concatenation is the sum of two convolutions, so the stem keeps its kernel and the map gets one of its own.
"""

from __future__ import annotations

from cdkit.hooks import hookimpl
from cdkit.parts import Adaptable, Site, Stream, Tap, Widths, layers_of
from einops import rearrange
from torch import Tensor, nn

from cdkit_injectors.modulation import beside, silent_linear
from cdkit_injectors.streams import only, pooled_of


class MapTap(Tap):
    """h -> h + kernel(map). At birth h itself: the kernel starts at zero. Signal: (B, C, rows, columns).

    The kernel is 3 x 3 where h has a row for every row of the picture, and one patch where h has a row for every patch.
    """

    def __init__(self, site: Site, width: int) -> None:
        super().__init__()
        self.site = site
        if site.layout == "map" and site.stride == 1:
            self.kernel = nn.Conv2d(width, site.width, 3, padding=1, bias=False)
        else:
            self.kernel = nn.Conv2d(width, site.width, site.stride, stride=site.stride, bias=False)
        nn.init.zeros_(self.kernel.weight)

    def prepare(self, *streams: Stream) -> Tensor:
        spatial = streams[0].spatial
        if spatial is None:
            raise ValueError("the stream has no map, though its encoder declared channels for one")
        rows, columns = spatial.shape[2:]
        if rows % self.site.stride or columns % self.site.stride:
            raise ValueError(f"a map of {rows} x {columns} does not divide into patches of {self.site.stride} rows and columns")
        return self.kernel(spatial.to(self.kernel.weight.dtype))

    def adaptable(self) -> dict[str, Adaptable]:
        return {name: Adaptable(layer) for name, layer in layers_of(self)}

    def forward(self, h: Tensor, signal: Tensor, emb: Tensor) -> Tensor:
        del emb
        if self.site.layout == "tokens":
            signal = self._as_tokens(signal, h.shape[1])
        elif signal.shape[2:] != h.shape[2:]:
            raise ValueError(f"the map is {self._size(signal)}, but the picture is {self._size(h)}; give one of its size")
        return h + signal.to(h.dtype)

    def _as_tokens(self, signal: Tensor, patches: int) -> Tensor:
        told = signal.shape[2] * signal.shape[3]
        if told != patches:
            raise ValueError(
                f"the map is {self._size(signal)}, which makes {told} patches, but the picture has {patches}; give one its size"
            )
        return rearrange(signal, "b c rows columns -> b (rows columns) c")

    def _size(self, features: Tensor) -> str:
        """Rows and columns in the picture's own pixels."""
        return f"{features.shape[2] * self.site.stride} x {features.shape[3] * self.site.stride}"


class PooledTap(Tap):
    """h -> h + project(pooled) at every pixel, for a stream that has no map: what convolving it, spread out, amounts to.

    At birth h itself: `project` starts at zero. Signal: (B, C).
    """

    def __init__(self, site: Site, width: int) -> None:
        super().__init__()
        self.site = site
        self.project = silent_linear(width, site.width, bias=False)

    def prepare(self, *streams: Stream) -> Tensor:
        return self.project(pooled_of(streams[0]).to(self.project.weight.dtype))

    def adaptable(self) -> dict[str, Adaptable]:
        return {name: Adaptable(layer) for name, layer in layers_of(self)}

    def forward(self, h: Tensor, signal: Tensor, emb: Tensor) -> Tensor:
        del emb
        return h + beside(signal, self.site.layout).to(h.dtype)


class Concat:
    """Fills the `input` site; reads one stream's map, or its pooled vector where it has no map. ValueError for neither.

    A map of another size than the picture is a ValueError when the model is called.
    """

    def __init__(self, streams: tuple[str, ...], widths: tuple[Widths, ...]) -> None:
        self.form, self.width = only("concat", streams, widths, "spatial", "pooled")

    def tap(self, site: Site) -> Tap | None:
        if site.kind != "input":
            return None
        return MapTap(site, self.width) if self.form == "spatial" else PooledTap(site, self.width)


@hookimpl
def cdkit_injector() -> type[Concat]:
    return Concat
