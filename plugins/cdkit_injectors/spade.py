"""`spade`: a map scales and shifts every normalised feature, place by place (Park et al. 2019, arXiv 1903.07291, eq. 1).

`film` with a map where it has a vector: γ and β differ from pixel to pixel, and a normalisation cannot wash the map away.
"""

from __future__ import annotations

from cdkit.hooks import hookimpl
from cdkit.parts import Adaptable, Positive, Site, Stream, Tap, Widths, layers_of
from torch import Tensor, nn
from torch.nn import functional as F

from cdkit_injectors.maps import Resize, check_size, map_at
from cdkit_injectors.modulation import modulate
from cdkit_injectors.streams import only


class SpadeTap(Tap):
    """h (B, C, H, W), normalised, -> h (1 + γ) + β. At birth h itself: `gamma` and `beta` start at zero.

    γ and β = convolutions of ReLU(shared(map)), as published, names apart. Signal: both (B, C, H, W).
    """

    def __init__(self, site: Site, width: int, *, hidden: int, resize: Resize) -> None:
        super().__init__()
        self.site = site
        self.resize: Resize = resize
        self.shared = nn.Conv2d(width, hidden, 3, padding=1)
        self.gamma = nn.Conv2d(hidden, site.width, 3, padding=1)
        self.beta = nn.Conv2d(hidden, site.width, 3, padding=1)
        for parameter in (*self.gamma.parameters(), *self.beta.parameters()):
            nn.init.zeros_(parameter)

    def prepare(self, *streams: Stream) -> tuple[Tensor, Tensor]:
        told = F.relu(self.shared(map_at(self.site, streams[0], self.resize).to(self.shared.weight.dtype)))
        return self.gamma(told), self.beta(told)

    def adaptable(self) -> dict[str, Adaptable]:
        return {name: Adaptable(layer) for name, layer in layers_of(self)}

    def forward(self, h: Tensor, signal: tuple[Tensor, Tensor], emb: Tensor) -> Tensor:
        del emb
        gamma, beta = signal
        check_size(self.site, gamma, h)
        return modulate(h, gamma, beta)


class Spade:
    """Fills `norm` sites that are maps; reads one stream's map, of the picture's size. Raises ValueError where it has none.

    hidden: channels between the map and γ and β; 128 in the paper. resize: how the map comes to a level's size: "nearest", the
    paper's, keeps labels what they are; "area" is the mean, so that nothing thin falls through.
    """

    def __init__(
        self, streams: tuple[str, ...], widths: tuple[Widths, ...], *, hidden: Positive = 128, resize: Resize = "nearest"
    ) -> None:
        _, self.width = only("spade", streams, widths, "spatial")
        self.hidden = hidden
        self.resize: Resize = resize

    def tap(self, site: Site) -> Tap | None:
        if site.kind != "norm" or site.layout != "map":
            return None
        return SpadeTap(site, self.width, hidden=self.hidden, resize=self.resize)


@hookimpl
def cdkit_injector() -> type[Spade]:
    return Spade
