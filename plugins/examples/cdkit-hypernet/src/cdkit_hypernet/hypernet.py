"""hypernet: the condition writes a convolution kernel for every channel, and the map passes it.

A small network that makes another's weights (HyperNetworks, Ha et al. 2016, arXiv 1609.09106), here those of a depthwise
convolution, anew for every sample (dynamic filter networks, Jia et al. 2016, arXiv 1605.09673). cdkit's own `weights` mixes
channels at one place; this one mixes places within one channel, so a condition can blur, sharpen, shift or draw an edge.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
from cdkit.hooks import hookimpl
from cdkit.parts import Adaptable, Positive, Site, Stream, Tap, Widths, layers_of
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

Form: TypeAlias = Literal["pooled", "tokens"]


class HypernetTap(Tap):
    """h -> h + kernel * h, channel by channel, the kernels (C, size, size) of each sample its own; zeros beyond the border.

    At birth h itself: the layer that writes the kernels starts at zero. A sample with no word that counts keeps h.
    Signal: kernels (B, C, size, size).
    """

    def __init__(self, channels: int, width: int, *, form: Form, size: int, hidden: int) -> None:
        super().__init__()
        self.form: Form = form
        self.size = size
        self.read = nn.Linear(width, hidden)
        self.write = nn.Linear(hidden, channels * size * size)
        nn.init.zeros_(self.write.weight)
        nn.init.zeros_(self.write.bias)

    def prepare(self, *streams: Stream) -> Tensor:
        said, counts = summary(streams[0], self.form)
        written = self.write(F.silu(self.read(said.to(self.read.weight.dtype))))
        kernels = rearrange(written, "b (c i j) -> b c i j", i=self.size, j=self.size)
        return kernels.masked_fill(~rearrange(counts, "b -> b 1 1 1"), 0)

    def forward(self, h: Tensor, signal: Tensor, emb: Tensor) -> Tensor:
        del emb
        batch = len(h)
        maps, kernels = rearrange(h, "b c h w -> 1 (b c) h w"), rearrange(signal, "b c i j -> (b c) 1 i j").to(h.dtype)
        passed = F.conv2d(maps, kernels, padding=self.size // 2, groups=len(kernels))
        return h + rearrange(passed, "1 (b c) h w -> b c h w", b=batch)

    def adaptable(self) -> dict[str, Adaptable]:
        return {name: Adaptable(layer) for name, layer in layers_of(self)}


def summary(stream: Stream, form: Form) -> tuple[Tensor, Tensor]:
    """What a stream says as one vector (B, D), and (B,) whether it says anything: pooled, or the mean of words that count.

    Masked words are zeroed before anything is made of them: NaN times zero is NaN.
    """
    value = getattr(stream, form)
    if value is None:
        raise ValueError(f"the stream has no {form}, though its encoder declared a width for them")
    if form == "pooled":
        return value, torch.ones(len(value), dtype=torch.bool, device=value.device)
    mask = torch.ones(value.shape[:2], dtype=torch.bool, device=value.device) if stream.mask is None else stream.mask
    if mask.dtype != torch.bool or mask.shape != value.shape[:2]:
        raise ValueError(f"a mask must be bool {tuple(value.shape[:2])}; got {mask.dtype} {tuple(mask.shape)}")
    words = mask.sum(dim=1)
    total = value.masked_fill(~mask[..., None], 0).sum(dim=1)
    return total / words.clamp(min=1)[:, None], words > 0


class Hypernet:
    """Fills `norm` sites that are maps; reads one stream: its pooled vector, or the mean of its words where it has none.

    size: rows and columns of a kernel, odd. hidden: width of the network that writes the kernels; a site of C channels costs
    hidden (P + 1) + C size² (hidden + 1) parameters. Raises ValueError for streams that it cannot read.
    """

    def __init__(
        self, streams: tuple[str, ...], widths: tuple[Widths, ...], *, size: Literal[3, 5, 7] = 3, hidden: Positive = 32
    ) -> None:
        if len(streams) != 1:
            raise ValueError(f"hypernet reads exactly one stream; got {len(streams)} ({', '.join(map(repr, streams)) or 'none'})")
        if not (widths[0].pooled or widths[0].tokens):
            raise ValueError(f"hypernet needs pooled or tokens, but stream {streams[0]!r} offers {widths[0]}")
        self.form: Form = "pooled" if widths[0].pooled else "tokens"
        self.width = getattr(widths[0], self.form)
        self.size: int = size
        self.hidden = hidden

    def tap(self, site: Site) -> Tap | None:
        if site.kind != "norm" or site.layout != "map":
            return None
        return HypernetTap(site.width, self.width, form=self.form, size=self.size, hidden=self.hidden)


@hookimpl
def cdkit_injector() -> type[Hypernet]:
    return Hypernet
