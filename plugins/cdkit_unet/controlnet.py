"""`controlnet`: a U-Net beside which a second way down reads a picture (Zhang et al. 2023, arXiv 2302.05543).

The second half is a copy of the first at birth, with sites of its own (`control.input`, `control.down.0.attn.0...`). What it
leaves goes through convolutions that start at zero, and is handed to the U-Net's `skip` sites: new, it changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Literal

import torch
from cdkit.hooks import Trial, hookimpl
from cdkit.parts import Backbone, Mount, NonNegative, Positive, SampleShape, Signals, Site, Unit
from torch import Tensor, nn

from cdkit_unet.common import Common
from cdkit_unet.half import Half, geometry_of
from cdkit_unet.heads import Heads
from cdkit_unet.norm import SMALLEST_GROUP
from cdkit_unet.unet import UNet
from cdkit_unet.zero import zeroed

PREFIX = "control."
HANDED = "control"  # the name under which a skip site finds what it is handed


class ControlNet(UNet):
    """`unet`'s options, and two more. Mount a map at `control.input` (`hint` does): there it meets the noisy picture.

    strength: how much of what the second half says is added. locked: the U-Net itself does not learn, and what is mounted
    on it neither; for a trained one.
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
        strength: float = 1.0,
        locked: bool = False,
    ) -> None:
        options: dict[str, Any] = {"heads": heads, "head_dim": head_dim, "projection": projection, "groups": groups}
        options |= {"width": width, "mult": mult, "blocks": blocks, "attention": attention, "depth": depth}
        super().__init__(handing(mount), sample, **options, smallest_group=smallest_group, dropout=dropout)
        for parameter in self.parameters() if locked else ():
            parameter.requires_grad_(False)
        common = Common(prefixed(mount), 4 * width, groups, smallest_group, dropout, Heads(heads, head_dim), projection)
        self.strength = strength
        self.control = Half(common, geometry_of(sample.channels, width, mult, blocks, attention, depth))
        self.zero = nn.ModuleList([zeroed(nn.Conv2d(skip.width, skip.width, 1)) for skip in self.kept])
        lowest = width * mult[-1]
        self.mid_zero = zeroed(nn.Conv2d(lowest, lowest, 1))
        copied(self, self.control)

    def forward(self, x: Tensor, t: Tensor, signals: Signals) -> Tensor:
        handed = {name: {HANDED: self.strength * said} for name, said in self._said(x, t, signals)}
        return super().forward(x, t, {**signals, **{name: {**signals.get(name, {}), **more} for name, more in handed.items()}})

    def _said(self, x: Tensor, t: Tensor, signals: Signals) -> Iterator[tuple[str, Tensor]]:
        """What the second half has to say at every skip site, by the site's name."""
        h, skips = self.control.encode(x, t, signals)
        for place, (zero, skip) in enumerate(zip(self.zero, skips, strict=True)):
            yield f"skip.{place}", zero(skip)
        yield "skip.mid", self.mid_zero(h)


class Handed(nn.Module):
    """A skip site's slot: what is mounted there, then what the second half says."""

    def __init__(self, name: str, slot: nn.Module) -> None:
        super().__init__()
        self.name = name
        self.slot = slot

    def forward(self, h: Tensor, signals: Signals, emb: Tensor) -> Tensor:
        return self.slot(h, signals, emb) + signals[self.name][HANDED]


def handing(mount: Mount) -> Mount:
    """The mount of the U-Net itself, whose skip sites are handed something."""

    def opened(site: Site) -> nn.Module:
        slot = mount(site)
        return Handed(site.name, slot) if site.kind == "skip" else slot

    return opened


def prefixed(mount: Mount) -> Mount:
    """The mount of the second half: its sites have names of their own."""
    return lambda site: mount(replace(site, name=PREFIX + site.name))


@torch.no_grad()
def copied(source: nn.Module, target: nn.Module) -> None:
    """Fill the target with the source's parameters of the same names."""
    given = dict(source.named_parameters())
    for name, parameter in target.named_parameters():
        if name in given:  # a method may be mounted on one half alone
            parameter.copy_(given[name])


@hookimpl
def cdkit_backbone() -> type[Backbone]:
    return ControlNet


@hookimpl
def cdkit_trial() -> Trial:
    return Trial({"width": 8, "mult": (1, 2), "blocks": 1, "attention": (1,), "heads": 2})
