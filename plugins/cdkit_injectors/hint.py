"""`hint`: a picture of more pixels than what is drawn has rows, brought down by convolutions and added at the input.

ControlNet's way of reading a map (Zhang et al. 2023, arXiv 2302.05543, section 3.2), name for name as it is published:
conv_in, blocks.0 …, conv_out, which starts at zero.
"""

from __future__ import annotations

from itertools import pairwise

from cdkit.hooks import Trial, hookimpl
from cdkit.parts import Adaptable, Positive, Site, Stream, Tap, Widths, layers_of
from torch import Tensor, nn
from torch.nn import functional as F

from cdkit_injectors.streams import only


class HintTap(Tap):
    """h (B, C, H, W) -> h + the hint's features. At birth h itself: `conv_out` starts at zero. Signal: (B, C, H, W).

    The map holds `scale` rows for each row of h in its channels, which are spread out again; `scale` is a power of two, with
    one convolution of stride 2 for each halving.
    """

    def __init__(self, site: Site, width: int, channels: tuple[int, ...]) -> None:
        super().__init__()
        self.scale = 2 ** (len(channels) - 1)
        self.conv_in = nn.Conv2d(width // self.scale**2, channels[0], 3, padding=1)
        blocks = [
            conv
            for fine, coarse in pairwise(channels)
            for conv in (nn.Conv2d(fine, fine, 3, padding=1), nn.Conv2d(fine, coarse, 3, stride=2, padding=1))
        ]
        self.blocks = nn.ModuleList(blocks)
        self.conv_out = nn.Conv2d(channels[-1], site.width, 3, padding=1)
        nn.init.zeros_(self.conv_out.weight)
        nn.init.zeros_(self.conv_out.bias)  # pyright: ignore[reportArgumentType]  # a Conv2d's bias is a tensor unless it is told

    def prepare(self, *streams: Stream) -> Tensor:
        spatial = streams[0].spatial
        if spatial is None:
            raise ValueError("the stream has no map, though its encoder declared channels for one")
        h = F.silu(self.conv_in(F.pixel_shuffle(spatial.to(self.conv_in.weight.dtype), self.scale)))
        for block in self.blocks:
            h = F.silu(block(h))
        return self.conv_out(h)

    def adaptable(self) -> dict[str, Adaptable]:
        return {name: Adaptable(layer) for name, layer in layers_of(self)}

    def forward(self, h: Tensor, signal: Tensor, emb: Tensor) -> Tensor:
        del emb
        if signal.shape[2:] != h.shape[2:]:
            told, wanted = (" x ".join(str(self.scale * side) for side in part.shape[2:]) for part in (signal, h))
            raise ValueError(f"the hint is {told}, but this picture needs one of {wanted}")
        return h + signal.to(h.dtype)


class Hint:
    """Fills `input` sites that are maps, so confine it: `sites: [control.input]`. Reads one stream's map.

    channels: of each resolution on the way down; four of them mean 8 rows of the hint a row of the picture, as many as
    Stable Diffusion's autoencoder has, which the encoder `map` gives with `scale: 8`. Raises ValueError where the stream has
    no map, or none of so many rows.
    """

    def __init__(
        self, streams: tuple[str, ...], widths: tuple[Widths, ...], *, channels: tuple[Positive, ...] = (16, 32, 96, 256)
    ) -> None:
        _, self.width = only("hint", streams, widths, "spatial")
        if not channels:
            raise ValueError("hint: channels is empty; expected at least one number")
        scale = 2 ** (len(channels) - 1)
        if self.width % scale**2:
            raise ValueError(
                f"hint brings {scale} rows of a map down to one, so the map needs a multiple of {scale**2} channels; "
                f"stream {streams[0]!r} has {self.width}: give its encoder `scale: {scale}`, or other `channels` here"
            )
        self.channels = channels

    def tap(self, site: Site) -> Tap | None:
        if site.kind != "input" or site.layout != "map" or site.stride != 1:
            return None
        return HintTap(site, self.width, self.channels)


@hookimpl
def cdkit_injector() -> type[Hint]:
    return Hint


@hookimpl
def cdkit_trial() -> Trial:
    return Trial({"channels": (8,)})
