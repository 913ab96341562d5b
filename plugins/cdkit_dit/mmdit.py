"""`mmdit`: Stable Diffusion 3's transformer (Esser et al. 2024, arXiv 2403.03206): words and picture as equals, small.

Whatever joins at its one `sequence` site becomes the second stream, which the blocks rewrite with weights of their own. With
nothing joined that stream is empty, and the network is `dit` of the picture's weights.
"""

from __future__ import annotations

from cdkit.hooks import Trial, hookimpl
from cdkit.parts import Backbone, Joined, Mount, Positive, PositiveFloat, SampleShape, Signals, Site
from torch import Tensor

from cdkit_dit.attention import over_keys
from cdkit_dit.joint_block import JointBlock
from cdkit_dit.patched import Patched, check_width


class MMDiT(Patched):
    """x (B, C, H, W) of the sample's size, t (B,) in [0, 1000] -> (B, C, H, W).

    patch: rows and columns of a token; H and W must be multiples of it. width: channels of a token, a multiple of 4 and of
    heads. depth: blocks. heads: of attention. mlp_ratio: hidden channels of the feed-forwards in widths. qk_norm: queries and
    keys have a root mean square of one in each head, times learned weights. Raises ValueError where these do not fit.
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
        qk_norm: bool = False,
    ) -> None:
        check_width(width, heads, mlp_ratio)
        super().__init__(
            mount,
            sample,
            patch=patch,
            width=width,
            blocks=lambda open_site: (
                JointBlock(
                    open_site,
                    f"blocks.{i}",
                    width,
                    embedding=width,
                    heads=heads,
                    mlp_ratio=mlp_ratio,
                    qk_norm=qk_norm,
                    last=i == depth - 1,
                )
                for i in range(depth)
            ),
        )
        self.sequence = mount(Site("sequence", "sequence", "tokens", width, patch, width))

    def through(self, h: Tensor, emb: Tensor, signals: Signals) -> Tensor:
        joined: Joined = self.sequence(h, signals, emb)
        words, mask = joined.tokens[:, h.shape[1] :], over_keys(joined.mask)
        for block in self.blocks:
            h, words = block(h, words, mask, emb, signals)
        return h


@hookimpl
def cdkit_backbone() -> type[Backbone]:
    return MMDiT


@hookimpl
def cdkit_trial() -> Trial:
    return Trial({"width": 16, "depth": 2, "heads": 2})
