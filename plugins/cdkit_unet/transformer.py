"""The spatial transformer of latent diffusion (Rombach 2022, arXiv 2112.10752), less its cross-attention.

Stable Diffusion's block is self-attention, cross-attention, feed-forward. What stands in the middle is a way to be told
something, so here it is a site: `attend`.
"""

from __future__ import annotations

from cdkit.parts import Signals, adds, by_kernel, heard, plus, residual, summed_product, sums
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from cdkit_unet.attention import SelfAttention
from cdkit_unet.common import Common
from cdkit_unet.feedforward import FeedForward
from cdkit_unet.rows import repeated
from cdkit_unet.zero import zeroed

FEWEST, DEEPEST = 2048, 1024  # rows and columns from and up to which an H100 is sooner with one kernel than with two


class TransformerBlock(nn.Module):
    """Self-attention, the `attend` site, feed-forward: (B, N, C) -> (B, N, C), pre-norm, each added to its input."""

    def __init__(self, common: Common, name: str, channels: int, stride: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels)
        self.sequence = common.open(f"{name}.sequence", "sequence", "tokens", channels, stride, keys=channels)
        self.attn1 = SelfAttention(channels, common.heads.of(channels, name), stride)
        self.attend = common.open(f"{name}.attend", "attend", "tokens", channels, stride)
        self.norm3 = nn.LayerNorm(channels)
        self.ff = FeedForward(channels)

    def forward(self, h: Tensor, emb: Tensor, signals: Signals) -> Tensor:
        def mixed(normed: Tensor) -> Tensor:
            return self.attn1(self.sequence(normed, signals, emb), normed.shape[1])

        h = residual(h, self.norm1, mixed, self.attn1.to_out)
        h = self.attend(repeated(h, emb), signals, emb)
        return residual(h, self.norm3, self.ff, self.ff.out)


class ConvProjection(nn.Conv2d):
    """A 1 x 1 convolution, applied to tokens as the matrix that it is: its weight is (C, C, 1, 1) in Stable Diffusion 1."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels, 1)

    def forward(self, input: Tensor) -> Tensor:
        return nn.functional.linear(input, self.weight.flatten(1), self.bias)


class SpatialTransformer(nn.Module):
    """norm, project, `depth` transformer blocks over the map's rows and columns, project back, add the input.

    h (B, C, H, W) -> the same shape; or n B rows, as emb has, from where they are told something. `projection` says how the
    weights are kept: "conv" in Stable Diffusion 1, "linear" in 2 and XL; the arithmetic is one. The last projection starts at
    zero, as published.
    """

    def __init__(self, common: Common, name: str, channels: int, stride: int, *, depth: int) -> None:
        super().__init__()
        self.norm = common.norm(channels, eps=1e-6)
        self.proj_in = _projection(common, channels)
        self.blocks = nn.ModuleList([TransformerBlock(common, f"{name}.blocks.{i}", channels, stride) for i in range(depth)])
        self.proj_out = zeroed(_projection(common, channels))

    def forward(self, h: Tensor, emb: Tensor, signals: Signals) -> Tensor:
        tokens = self.proj_in(_rows_of(by_kernel(self.norm, h)))
        for block in self.blocks:
            tokens = block(tokens, emb, signals)
        return self._added(repeated(h, emb), tokens)

    def _added(self, h: Tensor, tokens: Tensor) -> Tensor:
        """h + proj_out(tokens): in one kernel where it may, or the bias is added with h."""
        bias, weight = self.proj_out.bias, self.proj_out.weight.flatten(1)
        if bias is None or heard(self.proj_out) or not adds(h):
            return h + _map_of(self.proj_out(tokens), h)
        if sums(weight, bias, rows := _rows_of(h), fewest=FEWEST, deepest=DEEPEST):
            return _map_of(summed_product(tokens, weight, bias, rows), h)
        return plus(h, _map_of(F.linear(tokens, weight), h), bias)


def _rows_of(h: Tensor) -> Tensor:
    return rearrange(h, "b c h w -> b (h w) c")


def _map_of(tokens: Tensor, like: Tensor) -> Tensor:
    return rearrange(tokens, "b (h w) c -> b c h w", h=like.shape[2])


class NoTransformer(nn.Module):
    """What stands at a level without attention: h as it came."""

    def forward(self, h: Tensor, emb: Tensor, signals: Signals) -> Tensor:
        del signals
        return repeated(h, emb)


def spatial(common: Common, name: str, channels: int, stride: int, *, depth: int) -> nn.Module:
    """A spatial transformer; nothing where depth is 0."""
    return SpatialTransformer(common, name, channels, stride, depth=depth) if depth else NoTransformer()


def _projection(common: Common, channels: int) -> ConvProjection | nn.Linear:
    return ConvProjection(channels) if common.projection == "conv" else nn.Linear(channels, channels)
