"""The levels of the U-Net: down, middle, up. Every pass on the way down leaves a skip; every pass on the way up takes one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain, repeat

from cdkit.parts import Signals
from torch import Tensor, nn

from cdkit_unet.common import Common
from cdkit_unet.moment import Moment
from cdkit_unet.passes import Pass
from cdkit_unet.resample import Downsample, Upsample
from cdkit_unet.resnet import ResnetBlock
from cdkit_unet.transformer import spatial


class DownLevel(nn.Module):
    """`blocks` times a residual block and a transformer, then Downsample unless it is the last level."""

    def __init__(self, common: Common, level: int, channels: int, out: int, *, blocks: int, depth: int, last: bool) -> None:
        super().__init__()
        name, stride = f"down.{level}", 2**level
        inputs = chain([channels], repeat(out, blocks - 1))  # made one by one: of a billion the build refuses most
        self.res, self.attn = _blocks(common, name, inputs, out, stride, depth=depth)
        self.downsample = nn.ModuleList([] if last else [Downsample(out)])
        # Widths and strides of the skips that it leaves, in order.
        self.kept = [(out, stride)] * blocks + [(out, 2 * stride)] * len(self.downsample)

    def passes(self) -> list[Pass]:
        """One for every skip that it leaves, in order."""
        return [*map(Pass, self.res, self.attn), *(Pass(resample=down) for down in self.downsample)]


class Middle(nn.Module):
    """Residual block, transformer, residual block, at the lowest resolution."""

    def __init__(self, common: Common, channels: int, stride: int, *, depth: int) -> None:
        super().__init__()
        first, attn = _blocks(common, "mid", [channels], channels, stride, depth=depth)
        self.res = first.append(ResnetBlock(common, "mid.res.1", channels, channels, stride))
        self.attn = attn

    def forward(self, h: Tensor, moment: Moment, signals: Signals) -> Tensor:
        h = self.attn[0](self.res[0](h, moment, signals), moment.emb, signals)
        return self.res[1](h, moment, signals)


class UpLevel(nn.Module):
    """For every skip: join it, a residual block and a transformer; then Upsample unless it is the finest level."""

    def __init__(
        self, common: Common, index: int, level: int, channels: int, out: int, *, skips: Sequence[int], depth: int
    ) -> None:
        super().__init__()
        name, stride = f"up.{index}", 2**level
        inputs = [c + skip for c, skip in zip([channels] + [out] * (len(skips) - 1), skips, strict=True)]
        self.res, self.attn = _blocks(common, name, inputs, out, stride, depth=depth)
        self.upsample = nn.ModuleList([Upsample(out)] if level else [])

    def passes(self) -> list[Pass]:
        """One for every skip that it takes, in order."""
        changes = [None] * (len(self.res) - len(self.upsample)) + [*self.upsample]
        return [Pass(res, attn, up) for res, attn, up in zip(self.res, self.attn, changes, strict=True)]


def _blocks(
    common: Common, name: str, inputs: Iterable[int], out: int, stride: int, *, depth: int
) -> tuple[nn.ModuleList, nn.ModuleList]:
    """Residual blocks with these input widths and a transformer behind each; their sites open in the order of forward."""
    res, attn = nn.ModuleList(), nn.ModuleList()
    for i, channels in enumerate(inputs):
        res.append(ResnetBlock(common, f"{name}.res.{i}", channels, out, stride))
        attn.append(spatial(common, f"{name}.attn.{i}", out, stride, depth=depth))
    return res, attn
