"""`cross_attention`: every pixel asks, every word answers (Rombach 2022, arXiv 2112.10752, section 3.3).

Query from the picture, keys and values from the words. Its parameters are those of Stable Diffusion's transformer block,
name for name: norm2, attn2.to_q, attn2.to_k, attn2.to_v, attn2.to_out.0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, cast

from cdkit.hooks import Trial, hookimpl
from cdkit.parts import Adaptable, Positive, Stream, Tap, Widths, layer_normed, layers_of, residual
from einops import rearrange
from torch import Tensor, nn

from cdkit_injectors.attending import Attending
from cdkit_injectors.inner import Inner
from cdkit_injectors.masked import attend, counts, heeded, words_of
from cdkit_injectors.modulation import silent_linear

Padding = Literal["mask", "attend"]


class Attention(nn.Module):
    """Projections of queries (C), of keys and values (D), and of the answer; the last starts at zero. A: its inner width."""

    def __init__(self, channels: int, width: int, inner: int | None = None) -> None:
        super().__init__()
        inner = inner or channels
        self.to_q = nn.Linear(channels, inner, bias=False)
        self.to_k = nn.Linear(width, inner, bias=False)
        self.to_v = nn.Linear(width, inner, bias=False)
        self.to_out = nn.ModuleList([silent_linear(inner, channels)])

    @property
    def last(self) -> nn.Linear:
        return cast("nn.Linear", self.to_out[0])


class CrossAttentionTap(Tap):
    """h (B, N, C) -> h + attention of norm2(h) over the words. At birth h itself: `to_out` starts at zero.

    Signal: keys and values (B, L, A), and the mask (B, L) if the words have one. A sample with no word that counts keeps h.
    """

    def __init__(self, channels: int, width: int, *, heads: int, padding: Padding, inner: int | None = None) -> None:
        super().__init__()
        self.heads = heads
        self.padding: Padding = padding
        self.norm2 = nn.LayerNorm(channels)
        self.attn2 = Attention(channels, width, inner)

    def prepare(self, *streams: Stream) -> tuple[Tensor, ...]:
        tokens, mask = words_of(streams[0] if self.padding == "mask" else Stream(tokens=streams[0].tokens))
        tokens = tokens.to(self.attn2.to_k.weight.dtype)
        keys_values = self.attn2.to_k(tokens), self.attn2.to_v(tokens)
        return keys_values if mask is None else (*keys_values, mask)

    def adaptable(self) -> dict[str, Adaptable]:
        """By peft's names; `to_out` is the first of a list, as in Stable Diffusion."""
        return {path.removesuffix(".0"): Adaptable(layer) for path, layer in layers_of(self)}

    def forward(self, h: Tensor, signal: tuple[Tensor, ...], emb: Tensor) -> Tensor:
        del emb
        keys, values, *masks = signal
        mask = masks[0] if masks else None

        def answered(normed: Tensor) -> Tensor:
            return attend(self.attn2.to_q(normed), keys, values, mask, heads=self.heads)

        out = self.attn2.last
        if mask is None:
            return residual(h, self.norm2, answered, out)
        answer = out(answered(layer_normed(self.norm2, h))).to(h.dtype)
        return h + answer.masked_fill(~rearrange(counts(mask), "b 1 -> b 1 1"), 0)

    def attention(self, h: Tensor, signal: tuple[Tensor, ...]) -> Tensor | None:
        keys, _, *masks = signal
        return heeded(self.attn2.to_q(self.norm2(h)), keys, masks[0] if masks else None, heads=self.heads)


class CrossAttention(Attending):
    """Fills `attend` sites; reads one stream's tokens.

    heads or head_dim: one of them; neither means heads of about 64 channels. padding: "mask" keeps padding out; "attend"
    reads every position, as Stable Diffusion was trained to. width: what the tokens' width must be, to be sure of it.
    inner: A, the width of queries, keys and values, in multiples of the heads; none: C, the site's own. Raises ValueError
    where the stream or the heads do not fit.
    """

    method = "cross_attention"

    def __init__(
        self,
        streams: tuple[str, ...],
        widths: tuple[Widths, ...],
        *,
        heads: Positive | None = None,
        head_dim: Positive | None = None,
        padding: Padding = "mask",
        width: Positive | None = None,
        inner: Inner | None = None,
    ) -> None:
        super().__init__(streams, widths, heads=heads, head_dim=head_dim, inner=inner)
        self.padding: Padding = padding
        if width not in (None, self.width):
            raise ValueError(
                f"cross_attention expects tokens of width {width}, but stream {streams[0]!r} offers tokens of width {self.width}"
            )

    def made(self, channels: int, *, heads: int, inner: int) -> Tap:
        return CrossAttentionTap(channels, self.width, heads=heads, padding=self.padding, inner=inner)

    @classmethod
    def narrow(cls, options: Mapping[str, Any]) -> Mapping[str, Any]:
        """As many heads as any width allows, and no word on the tokens' width: a twin's encoder may be narrow too."""
        return {name: value for name, value in options.items() if name == "padding"}


@hookimpl
def cdkit_injector() -> type[CrossAttention]:
    return CrossAttention


@hookimpl
def cdkit_trial() -> Trial:
    return Trial({"heads": 2})
