"""Resampler: any number of tokens read into a fixed number (Flamingo, Alayrac et al. 2022, arXiv 2204.14198, section 3.1.1).

Its parameters are those of diffusers' IPAdapterPlusImageProjection, name for name and shape for shape.
"""

from __future__ import annotations

import torch
from einops import repeat
from torch import Tensor, nn

from cdkit_injectors.inner import whole
from cdkit_injectors.masked import attend

WIDER = 4  # hidden channels of a feed-forward, in widths


class Attention(nn.Module):
    """Latents ask, tokens and latents answer."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.to_q = nn.Linear(width, inner, bias=False)
        self.to_k = nn.Linear(width, inner, bias=False)
        self.to_v = nn.Linear(width, inner, bias=False)
        self.to_out = nn.ModuleList([nn.Linear(inner, width, bias=False)])

    def forward(self, latents: Tensor, read: Tensor, mask: Tensor | None, *, heads: int) -> Tensor:
        answer = attend(self.to_q(latents), self.to_k(read), self.to_v(read), mask, heads=heads)
        return self.to_out[0](answer)


class Gelu(nn.Module):
    """A projection and what GELU leaves of it."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.proj = nn.Linear(width, hidden, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.gelu(self.proj(x))


class FeedForward(nn.Module):
    """Wider, GELU, back."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.net = nn.Sequential(Gelu(width, hidden), nn.Identity(), nn.Linear(hidden, width, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class Layer(nn.Module):
    """latents (B, R, W), tokens (B, L, W), mask (B, L + R) or None -> latents: attention, then a feed-forward, each added."""

    def __init__(self, width: int, inner: int, hidden: int) -> None:
        super().__init__()
        self.ln0 = nn.LayerNorm(width)
        self.ln1 = nn.LayerNorm(width)
        self.attn = Attention(width, inner)
        self.ff = nn.Sequential(nn.LayerNorm(width), FeedForward(width, hidden))

    def forward(self, latents: Tensor, tokens: Tensor, mask: Tensor | None, *, heads: int) -> Tensor:
        asking = self.ln1(latents)
        read = torch.cat([self.ln0(tokens), asking], dim=1)
        latents = latents + self.attn(asking, read, mask, heads=heads)
        return latents + self.ff(latents)


class Resampler(nn.Module):
    """Tokens (B, L, D), zero where masked, and their mask (B, L) or None -> (B, R, W), whatever L is.

    inner: A, the width of attention, in multiples of the heads; feed-forwards are 4 A wide inside. None: A is W.
    """

    def __init__(self, given: int, width: int, *, latents: int, depth: int, heads: int, inner: float | None = None) -> None:
        super().__init__()
        self.heads = heads
        inner = inner or width
        inners = [whole(inner, f"layers.{i}.attn", heads) for i in range(depth)]
        hiddens = [whole(WIDER * inner, f"layers.{i}.ff") for i in range(depth)]
        self.latents = nn.Parameter(torch.randn(1, latents, width) / width**0.5)
        self.proj_in = nn.Linear(given, width)
        self.layers = nn.ModuleList([Layer(width, *wide) for wide in zip(inners, hiddens, strict=True)])
        self.proj_out = nn.Linear(width, width)
        self.norm_out = nn.LayerNorm(width)

    def forward(self, tokens: Tensor, mask: Tensor | None) -> Tensor:
        tokens = self.proj_in(tokens.to(self.proj_in.weight.dtype))
        latents = repeat(self.latents, "1 r w -> b r w", b=len(tokens))
        if mask is not None:
            mask = torch.cat([mask, mask.new_ones(latents.shape[:2])], dim=1)
        for layer in self.layers:
            latents = layer(latents, tokens, mask, heads=self.heads)
        return self.norm_out(self.proj_out(latents))
