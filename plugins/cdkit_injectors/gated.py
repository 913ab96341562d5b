"""`gated`: self-attention over pixels and words, behind a gate that starts shut (GLIGEN, Li et al. 2023, 2301.07093, eq. 8).

h + tanh(γ) · TS(SelfAttn([h, project(words)])), where TS keeps the picture's own tokens and γ starts at zero. Its parameters are
those of diffusers' GatedSelfAttentionDense, name for name, as far as the equation goes: linear, norm1, attn, alpha_attn.
"""

from __future__ import annotations

import torch
from cdkit.hooks import Trial, hookimpl
from cdkit.parts import Adaptable, Stream, Tap, layer_normed, layers_of
from einops import rearrange
from torch import Tensor, nn

from cdkit_injectors.attending import Attending
from cdkit_injectors.masked import attend, counts, heeded, words_of


class Attention(nn.Module):
    """Projections of self-attention (C), A wide inside. None of them starts at zero: the gate does."""

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.to_q = nn.Linear(channels, inner, bias=False)
        self.to_k = nn.Linear(channels, inner, bias=False)
        self.to_v = nn.Linear(channels, inner, bias=False)
        self.to_out = nn.ModuleList([nn.Linear(inner, channels)])


class GatedTap(Tap):
    """h (B, N, C) -> h + tanh(alpha_attn) · what pixels and words answer to the pixels. At birth h itself: tanh(0) is zero.

    Signal: keys and values of the words (B, L, A), and the mask (B, L) if they have one; their queries are never made, for TS
    would drop the answers. A sample with no word that counts keeps h.
    """

    def __init__(self, channels: int, width: int, *, heads: int, inner: int) -> None:
        super().__init__()
        self.heads = heads
        self.linear = nn.Linear(width, channels)
        self.norm1 = nn.LayerNorm(channels)
        self.attn = Attention(channels, inner)
        self.alpha_attn = nn.Parameter(torch.zeros(()))

    def prepare(self, *streams: Stream) -> tuple[Tensor, ...]:
        tokens, mask = words_of(streams[0])
        words = self.norm1(self.linear(tokens.to(self.linear.weight.dtype)))
        keys_values = self.attn.to_k(words), self.attn.to_v(words)
        return keys_values if mask is None else (*keys_values, mask)

    def adaptable(self) -> dict[str, Adaptable]:
        """By peft's names; `to_out` is the first of a list, as in Stable Diffusion."""
        return {path.removesuffix(".0"): Adaptable(layer) for path, layer in layers_of(self)}

    def forward(self, h: Tensor, signal: tuple[Tensor, ...], emb: Tensor) -> Tensor:
        del emb
        keys, values, *masks = signal
        pixels = layer_normed(self.norm1, h)
        k = torch.cat([self.attn.to_k(pixels), keys.to(h.dtype)], dim=1)
        v = torch.cat([self.attn.to_v(pixels), values.to(h.dtype)], dim=1)
        mask = torch.cat([masks[0].new_ones(h.shape[:2]), masks[0]], dim=1) if masks else None
        answer = self.attn.to_out[0](attend(self.attn.to_q(pixels), k, v, mask, heads=self.heads))
        answer = (self.alpha_attn.tanh() * answer).to(h.dtype)
        return h + (answer.masked_fill(~rearrange(counts(masks[0]), "b 1 -> b 1 1"), 0) if masks else answer)

    def attention(self, h: Tensor, signal: tuple[Tensor, ...]) -> Tensor | None:
        """To the words; the rest of each pixel's attention is the pixels'."""
        keys, _, *masks = signal
        pixels = self.norm1(h)
        k = torch.cat([self.attn.to_k(pixels), keys.to(h.dtype)], dim=1)
        mask = torch.cat([masks[0].new_ones(h.shape[:2]), masks[0]], dim=1) if masks else None
        return heeded(self.attn.to_q(pixels), k, mask, heads=self.heads)[..., h.shape[1] :]


class Gated(Attending):
    """Fills `attend` sites; reads one stream's tokens. Named before `cross_attention`, it stands where GLIGEN put it.

    heads or head_dim: one of them; neither means heads of about 64 channels. inner: A, the width of queries, keys and values,
    in multiples of the heads; none: C, the site's own. Raises ValueError where the stream or the heads
    do not fit.
    """

    method = "gated"

    def made(self, channels: int, *, heads: int, inner: int) -> Tap:
        return GatedTap(channels, self.width, heads=heads, inner=inner)


@hookimpl
def cdkit_injector() -> type[Gated]:
    return Gated


@hookimpl
def cdkit_trial() -> Trial:
    return Trial({"heads": 2})
