"""`perceiver`: learned latents read the tokens, the picture reads the latents (Flamingo, Alayrac et al. 2022, arXiv 2204.14198).

A Perceiver resampler (section 3.1.1) makes a few tokens of many; cross-attention, `cross_attention`'s own, hears those. One
resampler serves all sites of an injector, as in IP-Adapter-plus: the first tap holds it, the others ask it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cdkit.hooks import Trial, hookimpl
from cdkit.parts import Positive, Site, Stream, Tap, Widths
from einops import repeat
from torch import Tensor

from cdkit_injectors.cross_attention import CrossAttentionTap
from cdkit_injectors.heads import Heads
from cdkit_injectors.inner import Inner
from cdkit_injectors.masked import counts, words_of
from cdkit_injectors.resampler import Resampler
from cdkit_injectors.streams import only


class PerceiverTap(CrossAttentionTap):
    """h (B, N, C) -> h + attention of norm2(h) over the resampled tokens. At birth h itself: `to_out` starts at zero.

    Signal: keys and values (B, R, C), and a mask (B, R) if the tokens have one: a sample with no token that counts keeps h.
    The resampler runs once a batch for each site, never at a step.
    """

    def __init__(self, channels: int, resampler: Resampler, width: int, *, heads: int, inner: int, holds: bool) -> None:
        super().__init__(channels, width, heads=heads, padding="mask", inner=inner)
        if holds:
            self.resampler = resampler  # its parameters are this tap's
        self._ask = (resampler,)  # a tuple, so that those of the other taps are not registered a second time

    def prepare(self, *streams: Stream) -> tuple[Tensor, ...]:
        (resampler,) = self._ask
        tokens, mask = words_of(streams[0])
        told = resampler(tokens, mask)
        heard = None if mask is None else repeat(counts(mask), "b 1 -> b r", r=told.shape[1])
        return super().prepare(Stream(tokens=told, mask=heard))

    def attention(self, h: Tensor, signal: tuple[Tensor, ...]) -> Tensor | None:
        """None: the picture listens to latents, and each of them to many words."""
        del h, signal


class Perceiver:
    """Fills `attend` sites; reads one stream's tokens, with their mask.

    latents: R, the tokens that are left. depth: layers of the resampler. width: its channels, the tokens' own where not given.
    heads or head_dim: of the resampler and of every site, one of them; neither means heads of about 64 channels. inner: the
    width of attention, there and here, in multiples of the heads, and a quarter of the feed-forwards'; none: the resampler's
    width, and each site's own. Raises ValueError where the stream or the heads do not fit.
    """

    def __init__(
        self,
        streams: tuple[str, ...],
        widths: tuple[Widths, ...],
        *,
        latents: Positive = 16,
        depth: Positive = 2,
        width: Positive | None = None,
        heads: Positive | None = None,
        head_dim: Positive | None = None,
        inner: Inner | None = None,
    ) -> None:
        _, self.given = only("perceiver", streams, widths, "tokens")
        self.width = width or self.given
        self.latents, self.depth = latents, depth
        self.heads = Heads("perceiver", heads, head_dim)
        self.reading = self.heads.of(self.width, "its resampler")
        self.inner = inner
        self.resampler: Resampler | None = None

    def tap(self, site: Site) -> Tap | None:
        """The first tap is given the resampler, drawn from its random state."""
        if site.kind != "attend":
            return None
        inner, heads = self.heads.inside(self.inner, site.width, site.name)
        holds = self.resampler is None
        resampler = self.resampler = self.resampler or Resampler(
            self.given, self.width, latents=self.latents, depth=self.depth, heads=self.reading, inner=self.inner
        )
        return PerceiverTap(site.width, resampler, self.width, heads=heads, inner=inner, holds=holds)

    @classmethod
    def narrow(cls, options: Mapping[str, Any]) -> Mapping[str, Any]:
        """As many layers and latents, as many heads as any width allows, and no width: a twin's encoder may be narrow too."""
        return {name: value for name, value in options.items() if name in ("latents", "depth")}


@hookimpl
def cdkit_injector() -> type[Perceiver]:
    return Perceiver


@hookimpl
def cdkit_trial() -> Trial:
    return Trial({"heads": 2})
