"""`dit`: a diffusion transformer (Peebles and Xie 2023, arXiv 2212.09748), small, with the time as its only modulation.

Start as published: Xavier-uniform projections, zero biases, and zero in the time's modulations and the last layer. So a new
network answers zero, and its blocks pass on what they get.
"""

from __future__ import annotations

from cdkit.hooks import Trial, hookimpl
from cdkit.parts import Backbone, Mount, Positive, PositiveFloat, SampleShape, Signals
from torch import Tensor

from cdkit_dit.block import Block
from cdkit_dit.patched import Patched, check_width


class DiT(Patched):
    """x (B, C, H, W) of the sample's size, t (B,) in [0, 1000] -> (B, C, H, W).

    patch: rows and columns of a token; H and W must be multiples of it. width: channels of a token, a multiple of 4 and of
    heads. depth: blocks. heads: of attention. mlp_ratio: hidden channels of the feed-forward in widths. Raises ValueError
    where these do not fit.
    """

    def __init__(
        self,
        mount: Mount,
        sample: SampleShape,
        *,
        patch: Positive = 2,
        width: Positive = 384,
        depth: Positive = 12,
        heads: Positive = 6,
        mlp_ratio: PositiveFloat = 4.0,
    ) -> None:
        check_width(width, heads, mlp_ratio)
        super().__init__(
            mount,
            sample,
            patch=patch,
            width=width,
            blocks=lambda open_site: (
                Block(open_site, f"blocks.{i}", width, embedding=width, heads=heads, mlp_ratio=mlp_ratio, stride=patch)
                for i in range(depth)
            ),
        )

    def through(self, h: Tensor, emb: Tensor, signals: Signals) -> Tensor:
        for block in self.blocks:
            h = block(h, emb, signals)
        return h


@hookimpl
def cdkit_backbone() -> type[Backbone]:
    return DiT


@hookimpl
def cdkit_trial() -> Trial:
    return Trial({"width": 16, "depth": 2, "heads": 2})
