"""Half: the way down and the middle of the U-Net, which a U-Net goes on from and of which ControlNet has a second one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from cdkit.parts import Passing, Settling, Signals, passes, stem
from torch import Tensor, nn

from cdkit_unet.common import Common
from cdkit_unet.levels import DownLevel, Middle
from cdkit_unet.moment import Moment, Projections
from cdkit_unet.resnet import ResnetBlock
from cdkit_unet.size import check_size, widths_of
from cdkit_unet.time import TimeEmbedding
from cdkit_unet.transformer import TransformerBlock


@dataclass(frozen=True, slots=True)
class Geometry:
    """How wide and how deep each level is, from the finest on."""

    channels: int  # of the picture
    width: int
    widths: tuple[int, ...]
    blocks: int
    depths: tuple[int, ...]  # transformer blocks a level; 0 without attention
    middle: int  # transformer blocks in the middle

    @property
    def multiple(self) -> int:
        return 2 ** (len(self.widths) - 1)


class Kept(NamedTuple):
    """A skip that the way down leaves."""

    width: int
    stride: int


class Half(nn.Module, Settling):
    """x (B, C, H, W), t (B,) -> h at the lowest resolution and every skip."""

    def __init__(self, common: Common, geometry: Geometry) -> None:
        super().__init__()
        width, widths = geometry.width, geometry.widths
        self.multiple = geometry.multiple
        self.projections: Projections | None = None  # of the time, once they are settled
        self.time = TimeEmbedding(width, common.embedding)
        self.embed_site = common.open("embed", "embed", "vector", common.embedding, 1)
        self.stem = nn.Conv2d(geometry.channels, width, 3, padding=1)
        self.input_site = common.open("input", "input", "map", width, 1)
        levels = _down(common, [width, *widths], geometry.blocks, geometry.depths)
        self.down = nn.ModuleList(levels)
        self.kept = [Kept(width, 1), *(Kept(*skip) for level in levels for skip in level.kept)]
        self.mid = Middle(common, widths[-1], geometry.multiple, depth=geometry.middle)
        self.passes = tuple(made for level in levels for made in level.passes())

    def encode(self, x: Tensor, t: Tensor | Moment, signals: Signals) -> tuple[Tensor, list[Tensor]]:
        """The way down and the middle: h at the lowest resolution, and every skip in the order made."""
        skip, moment = self.begin(x, t, signals)
        skips = [skip]
        for down in self.passes:
            skips.append(down(skips[-1], moment, signals))
        return self.mid(skips[-1], moment, signals), skips

    def begin(self, x: Tensor, t: Tensor | Moment, signals: Signals) -> tuple[Tensor, Moment]:
        """The first skip, and the moment. The skip has a row for each picture, though there may be several branches of guidance,
        if they do not differ before the first transformer's words."""
        check_size(x, self.multiple)
        pictures, moment = self._started(x, t, partial(self._embedded, signals=signals))
        return self.input_site(stem(self.stem, pictures), signals, moment.emb), moment

    def _started(self, x: Tensor, t: Tensor | Moment, embedded: Callable[[Tensor, torch.dtype], Tensor]) -> tuple[Tensor, Moment]:
        """The pictures, each once if it may be, and the moment."""
        if not isinstance(t, Moment):
            return x, self._moment(embedded(t, x.dtype))
        return x[: len(x) // t.branches] if self._unheard() else x, t.of(len(x))

    def _unheard(self) -> bool:
        """Is nothing mounted before that?"""
        modules = [module for block in self.passes[0].blocks for part in block for module in part.modules()]
        words = [module.attend for module in modules if isinstance(module, TransformerBlock)]
        before = [site for site in (self.input_site, *modules) if isinstance(site, Passing) and site not in words]
        return all(site.passes for site in before)

    def _embedded(self, t: Tensor, dtype: torch.dtype, signals: Signals) -> Tensor:
        emb = self.time(t, dtype)
        return self.embed_site(emb, signals, emb)

    def _moment(self, emb: Tensor) -> Moment:
        return Moment(emb, self.projections(emb) if self.projections is not None else ())

    def moments(self, t: Tensor, branches: int) -> Sequence[Moment] | None:
        """Of times (S,), one row each; None if something is mounted where conditions are added to the time."""
        if not passes(self.embed_site):
            return None
        rows = self._moment(self.time(t, self.stem.weight.dtype))
        return [Moment(rows.emb[i : i + 1], [offset[i : i + 1] for offset in rows.offsets], branches) for i in range(len(t))]

    def settle(self) -> None:
        """Every residual block's answer to the time in one product."""
        blocks = [module for module in self.modules() if isinstance(module, ResnetBlock)]
        self.projections = Projections([block.time for block in blocks])
        for place, block in enumerate(blocks):
            block.place = place


def geometry_of(
    channels: int, width: int, mult: Sequence[int], blocks: int, attention: Sequence[int], depth: int | Sequence[int]
) -> Geometry:
    """ValueError where these do not fit together."""
    widths = widths_of(width, mult)
    depths, middle = depths_of(depth, attention, len(widths))
    return Geometry(channels, width, tuple(widths), blocks, tuple(depths), middle)


def depths_of(depth: int | Sequence[int], attention: Sequence[int], levels: int) -> tuple[list[int], int]:
    """Transformer blocks of every level (0 without attention) and of the middle. ValueError if they do not fit the levels."""
    each = [depth] * levels if isinstance(depth, int) else list(depth)
    if len(each) != levels:
        raise ValueError(f"depth lists {len(each)} levels, {each}, but mult has {levels}; expected one number or one a level")
    for level in attention:
        if level >= levels:
            raise ValueError(f"attention names level {level}, but mult has {levels} levels, 0 to {levels - 1}")
        if not each[level]:
            raise ValueError(f"attention names level {level}, where depth is 0; expected at least 1, or the level left out")
    if not each[-1]:
        raise ValueError(f"depth ends in 0, {each}, but the middle takes its last number; expected at least 1")
    return [each[level] if level in attention else 0 for level in range(levels)], each[-1]


def _down(common: Common, widths: Sequence[int], blocks: int, depths: Sequence[int]) -> list[DownLevel]:
    """The levels from the finest on."""
    last = len(depths) - 1
    return [
        DownLevel(common, level, widths[level], widths[level + 1], blocks=blocks, depth=depth, last=level == last)
        for level, depth in enumerate(depths)
    ]
