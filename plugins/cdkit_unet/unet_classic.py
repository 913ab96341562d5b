"""`unet_classic`: the textbook U-Net of denoising diffusion (Ho 2020, arXiv 2006.11239), part for part.

Told nothing it draws whatever its training set held. Methods that read words find an `attend` site in every down, middle
and up block, after the attention. Weights start as PyTorch draws them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from cdkit.hooks import Trial, hookimpl
from cdkit.parts import Adaptable, Backbone, Mount, Positive, SampleShape, Signals, layers_of
from torch import Tensor, nn

from cdkit_unet.classic_attention import split_qkv
from cdkit_unet.classic_block import ResnetBlock
from cdkit_unet.classic_levels import DownLevel, Middle, UpLevel
from cdkit_unet.classic_time import TimeMlp
from cdkit_unet.common import Common
from cdkit_unet.padding import crop_to, pad_to
from cdkit_unet.size import widths_of

NARROW = 16  # channels of a narrow twin; taps of up to 16 heads divide them


class UNetClassic(Backbone):
    """x (B, C, H, W) of any size, t (B,) in [0, 1000] -> (B, C, H, W).

    width: channels at the finest level; mult: channels of each level in widths. heads, head_dim: of self-attention, which has
    heads * head_dim channels at every level. groups: at most so many in a normalisation, of at least 4 channels each.
    up_attention: self-attention on the way up too. Inside, features are padded with zeros to multiples of 2^levels (28 x 28
    to 32 x 32 for three levels): after the `input` site, so that a map told there meets the picture pixel by pixel.
    """

    def __init__(
        self,
        mount: Mount,
        sample: SampleShape,
        *,
        width: Positive = 32,
        mult: tuple[Positive, ...] = (1, 2, 4),
        heads: Positive = 4,
        head_dim: Positive = 32,
        groups: Positive = 8,
        up_attention: bool = False,
    ) -> None:
        super().__init__()
        widths = widths_of(width, mult)
        inputs = [width, *widths[:-1]]
        common = Common(mount, 4 * width, groups)
        levels = range(len(mult))
        self.padded = 2 ** len(mult)
        self.time_mlp = TimeMlp(width, common.embedding)
        self.embed_site = common.open("embed", "embed", "vector", common.embedding, 1)
        self.stem = nn.Conv2d(sample.channels, width, 7, padding=3)
        self.input_site = common.open("input", "input", "map", width, 1)
        common = replace(common, padded=self.padded)
        self.down = nn.ModuleList(
            DownLevel(common, i, inputs[i], widths[i], heads=heads, head_dim=head_dim, last=i == levels[-1]) for i in levels
        )
        self.mid = Middle(common, widths[-1], 2 ** levels[-1], heads=heads, head_dim=head_dim)
        self.up = nn.ModuleList(
            UpLevel(common, index, i, widths[i], inputs[i], heads=heads, head_dim=head_dim, attention=up_attention)
            for index, i in enumerate(reversed(levels))
        )
        self.last = ResnetBlock(common, "out", width, width, 1)
        self.out = nn.Conv2d(width, sample.channels, 1)

    def forward(self, x: Tensor, t: Tensor, signals: Signals) -> Tensor:
        h, skips, emb = self.encode(x, t, signals)
        return crop_to(self.decode(h, skips, emb, signals), x)

    def encode(self, x: Tensor, t: Tensor, signals: Signals) -> tuple[Tensor, list[Tensor], Tensor]:
        """The way down and the middle: h at the lowest resolution, one skip a level in the order made, and emb (B, E)."""
        emb = self.time_mlp(t, x.dtype)
        emb = self.embed_site(emb, signals, emb)
        h = pad_to(self.input_site(self.stem(x), signals, emb), self.padded)
        skips: list[Tensor] = []
        for level in self.down:
            h, skip = level(h, emb, signals)
            skips.append(skip)
        return self.mid(h, emb, signals), skips, emb

    def decode(self, h: Tensor, skips: Sequence[Tensor], emb: Tensor, signals: Signals) -> Tensor:
        """The way up, taking the skips from the last to the first; the answer is still padded."""
        for level, skip in zip(self.up, reversed(skips), strict=True):
            h = level(h, skip, emb, signals)
        return self.out(self.last(h, emb, signals))

    def adaptable(self) -> Mapping[str, Adaptable]:
        """Every Linear and Conv2d by its path; a fused `to_qkv` as `to_q`, `to_k` and `to_v`, by its rows."""
        return {name: part for path, layer in layers_of(self) for name, part in split_qkv(path, layer)}

    @classmethod
    def narrow(cls, options: Mapping[str, Any]) -> Mapping[str, Any]:
        """The same levels, so the same sites, at a width of 16 and two heads of 4 channels."""
        return {**options, "width": min(NARROW, options.get("width", NARROW)), "heads": 2, "head_dim": 4}


@hookimpl
def cdkit_backbone() -> type[Backbone]:
    return UNetClassic


@hookimpl
def cdkit_trial() -> Trial:
    return Trial({"width": 8, "mult": (1, 2), "head_dim": 4})
