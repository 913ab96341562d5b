"""`concat_multi`: a map beside the features of every level, where `concat` (Saharia 2022, arXiv 2111.05826) has it once.

A tap may not make h wider, so it adds what a convolution of both would say: h + kernel([h, map]). Convolving a concatenation is
the sum of two convolutions, and the map's is made once a batch.
"""

from __future__ import annotations

from cdkit.hooks import hookimpl
from cdkit.parts import Adaptable, Site, Stream, Tap, Widths, layers_of
from torch import Tensor, nn

from cdkit_injectors.maps import Resize, check_size, map_at
from cdkit_injectors.streams import only


class ConcatTap(Tap):
    """h (B, C, H, W) -> h + of_h(h) + of_map(map). At birth h itself: both kernels and the bias start at zero.

    Together the two are one 3 x 3 kernel over the C + K channels of [h, map]. Signal: of_map(map) (B, C, H, W).
    """

    def __init__(self, site: Site, width: int, *, resize: Resize) -> None:
        super().__init__()
        self.site = site
        self.resize: Resize = resize
        self.of_h = nn.Conv2d(site.width, site.width, 3, padding=1, bias=False)
        self.of_map = nn.Conv2d(width, site.width, 3, padding=1)
        for parameter in self.parameters():
            nn.init.zeros_(parameter)

    def prepare(self, *streams: Stream) -> Tensor:
        return self.of_map(map_at(self.site, streams[0], self.resize).to(self.of_map.weight.dtype))

    def adaptable(self) -> dict[str, Adaptable]:
        return {name: Adaptable(layer) for name, layer in layers_of(self)}

    def forward(self, h: Tensor, signal: Tensor, emb: Tensor) -> Tensor:
        del emb
        check_size(self.site, signal, h)
        return (h + self.of_h(h) + signal).to(h.dtype)


class ConcatMulti:
    """Fills `branch` sites that are maps: the end of every residual block. Reads one stream's map, of the picture's size.

    At a branch's end what is said joins the residual stream as it is: no normalisation comes between, and once a block is
    enough. resize: how the map comes to a level's size: "area", the mean of what a row covers, or "nearest", one of its values,
    for labels. Raises ValueError where the stream has no map.
    """

    def __init__(self, streams: tuple[str, ...], widths: tuple[Widths, ...], *, resize: Resize = "area") -> None:
        _, self.width = only("concat_multi", streams, widths, "spatial")
        self.resize: Resize = resize

    def tap(self, site: Site) -> Tap | None:
        if site.kind != "branch" or site.layout != "map":
            return None
        return ConcatTap(site, self.width, resize=self.resize)


@hookimpl
def cdkit_injector() -> type[ConcatMulti]:
    return ConcatMulti
