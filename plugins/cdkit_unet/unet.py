"""`unet`: the U-Net of ADM (Dhariwal and Nichol 2021, arXiv 2105.05233) and Stable Diffusion (Rombach 2022, arXiv 2112.10752).

With cross-attention at its `attend` sites it is Stable Diffusion's denoiser, tensor for tensor: width 320,
mult [1, 2, 4, 4], 8 heads. Start: PyTorch's defaults, and zero where ADM and CompVis put zero: the last convolution, the
second one of every residual block, the last projection of every transformer. So a new network answers zero, and nothing
that it is told shows before it has learned a step or two.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import lcm
from typing import Any, Literal

from cdkit.hooks import Trial, hookimpl
from cdkit.parts import (
    Adaptable,
    Backbone,
    Mount,
    Nested,
    NonNegative,
    Positive,
    SampleShape,
    Signals,
    Timed,
    Unit,
    activated,
    layers_of,
)
from torch import Tensor, nn

from cdkit_unet.common import Common
from cdkit_unet.half import Half, Kept, geometry_of
from cdkit_unet.heads import Heads
from cdkit_unet.levels import UpLevel
from cdkit_unet.moment import Moment
from cdkit_unet.norm import SMALLEST_GROUP
from cdkit_unet.passes import Below, Bottom, Pass
from cdkit_unet.zero import zeroed

NARROW = 16  # channels of a narrow twin, or the least multiple of them that its heads divide


class UNet(Half, Timed, Backbone, Nested):
    """x (B, C, H, W), t (B,) in [0, 1000] -> (B, C, H, W).

    width: channels at the finest level; mult: channels of each level in widths. blocks: residual blocks a level on the way
    down (one more on the way up). attention: the levels that have transformers, 0 the finest; the middle always has one.
    depth: transformer blocks, one number or one a level, of which the middle takes the last. heads or head_dim: one of them;
    neither means heads of about 64 channels. projection: into and out of the transformers, `conv` as in Stable Diffusion 1,
    `linear` as in 2 and XL. groups: at most so many in a normalisation. smallest_group: channels of each, at least.
    dropout: in residual blocks. Raises ValueError where these do not fit together.
    """

    def __init__(
        self,
        mount: Mount,
        sample: SampleShape,
        *,
        width: Positive = 320,
        mult: tuple[Positive, ...] = (1, 2, 4, 4),
        blocks: Positive = 2,
        attention: tuple[NonNegative, ...] = (0, 1, 2),
        depth: Positive | tuple[NonNegative, ...] = 1,
        heads: Positive | None = None,
        head_dim: Positive | None = None,
        projection: Literal["conv", "linear"] = "conv",
        groups: Positive = 32,
        smallest_group: Positive = SMALLEST_GROUP,
        dropout: Unit = 0.0,
    ) -> None:
        common = Common(mount, 4 * width, groups, smallest_group, dropout, Heads(heads, head_dim), projection)
        geometry = geometry_of(sample.channels, width, mult, blocks, attention, depth)
        super().__init__(common, geometry)
        widths = geometry.widths
        self.skip_sites = skip_sites(common, self.kept)
        self.mid_skip_site = common.open("skip.mid", "skip", "map", widths[-1], self.multiple)
        levels = _up(common, [*widths, widths[-1]], [skip.width for skip in self.kept], blocks, geometry.depths)
        self.up = nn.ModuleList(levels)
        *ups, last = [made for level in levels for made in level.passes()]
        self.last = (last,)
        self.below = nested(self.passes, ups, self.skip_sites, Bottom(self.mid, self.mid_skip_site))
        self.norm = common.norm(widths[0])
        self.norm_site = common.open("out.norm", "norm", "map", widths[0], 1)
        self.out = zeroed(nn.Conv2d(widths[0], sample.channels, 3, padding=1))

    def forward(self, x: Tensor, t: Tensor | Moment, signals: Signals) -> Tensor:
        skip, moment = self.begin(x, t, signals)
        deep = self.below[0](skip, moment, signals)
        h = self.last[0](deep, moment, signals, self.skip_sites[0](skip, signals, moment.emb))
        return self.out(activated(self.norm, self.norm_site, h, signals, moment.emb))

    def adaptable(self) -> Mapping[str, Adaptable]:
        """Every Linear and Conv2d by its path."""
        return {name: Adaptable(layer) for name, layer in layers_of(self)}

    @classmethod
    def narrow(cls, options: Mapping[str, Any]) -> Mapping[str, Any]:
        """The same levels, blocks and depths, so the same sites, at a width of 16 or what the heads divide."""
        width = lcm(NARROW, options.get("heads") or 1)
        if options.get("width", 320) <= width:
            return options
        head = {"head_dim": NARROW} if options.get("head_dim") else {}
        return {**options, **head, "width": width}


def skip_sites(common: Common, kept: Sequence[Kept]) -> nn.ModuleList:
    """A slot for every skip, in the order in which the way down leaves them."""
    return nn.ModuleList(
        [common.open(f"skip.{place}", "skip", "map", skip.width, skip.stride) for place, skip in enumerate(kept)]
    )


def nested(downs: Sequence[Pass], ups: Sequence[Pass], sites: Iterable[nn.Module], bottom: Bottom) -> tuple[nn.Module, ...]:
    """What lies below each skip, the first one's first: that of one is within that of the one before. ups: the deepest first."""
    below: list[nn.Module] = [bottom]
    for down, up, site in zip(reversed(downs), ups, reversed(list(sites)), strict=False):  # the first skip's site lies above all
        below.insert(0, Below(down, below[0], site, up))
    return tuple(below)


def _up(common: Common, widths: Sequence[int], kept: Sequence[int], blocks: int, depths: Sequence[int]) -> list[UpLevel]:
    """The levels from the coarsest on, each taking blocks + 1 of the skips that are left."""
    left = list(kept)
    levels: list[UpLevel] = []
    for index, level in enumerate(reversed(range(len(depths)))):
        skips = [left.pop() for _ in range(blocks + 1)]
        levels.append(UpLevel(common, index, level, widths[level + 1], widths[level], skips=skips, depth=depths[level]))
    return levels


@hookimpl
def cdkit_backbone() -> type[Backbone]:
    return UNet


@hookimpl
def cdkit_trial() -> Trial:
    return Trial({"width": 8, "mult": (1, 2), "blocks": 1, "attention": (1,), "heads": 2})
