"""The small transformer that reads pieces of text and is trained with the model that it conditions.

B batch, L pieces, D width, H heads.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import chain

import numpy as np
import torch
from cdkit.parts import Stream
from einops import rearrange, repeat
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

START, END, PIECES = 1, 2, 3  # 0 pads; piece i of a vocabulary is id i + PIECES
STEP = 8  # L is a multiple of this: fewer shapes to compile and to allocate


class Transformer(nn.Module):
    """Pre-norm transformer (Xiong et al. 2020) over ids; positions are sinusoids (Vaswani et al. 2017), of any length.

    dim D even and a multiple of heads, else ValueError. Rows must begin with START, so that none is masked throughout.
    """

    def __init__(self, vocabulary: int, *, dim: int, depth: int, heads: int) -> None:
        super().__init__()
        check_width(dim, heads)
        self.pieces = nn.Embedding(vocabulary + PIECES, dim)
        self.blocks = nn.ModuleList(Block(dim, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(dim)
        self.to_pooled = nn.Linear(dim, dim)

    @property
    def device(self) -> torch.device:
        return self.pieces.weight.device

    def read(self, rows: Sequence[Sequence[int] | bytes], index: Sequence[int], length: int) -> Stream:
        """Distinct rows of pieces, none longer than length - 2, and for every prompt its row -> a stream, a prompt a row."""
        ids, mask = packed(rows, length)
        return spread(self(ids.to(self.device, non_blocking=True), mask.to(self.device, non_blocking=True)), index)

    def forward(self, ids: Tensor, mask: Tensor) -> Stream:
        """ids (B, L) int, mask (B, L) bool -> tokens (B, L, D), zero where masked; pooled (B, D), their projected mean."""
        weight = self.pieces.weight
        h = self.pieces(ids) + sinusoids(ids.shape[1], weight.shape[1], weight)
        for block in self.blocks:
            h = block(h, mask)
        tokens = self.norm(h) * mask.unsqueeze(-1)
        mean = tokens.sum(dim=1) / mask.sum(dim=1, keepdim=True)
        return Stream(tokens=tokens, mask=mask, pooled=self.to_pooled(mean))


class Block(nn.Module):
    """Self-attention over the pieces that count, then a feed-forward network of 4 D."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(dim)
        self.to_qkv = nn.Linear(dim, dim * 3, bias=False)
        self.to_out = nn.Linear(dim, dim)
        self.norm2 = nn.LayerNorm(dim)
        self.feed_forward = nn.Sequential(nn.Linear(dim, dim * 4), nn.GELU(), nn.Linear(dim * 4, dim))

    def forward(self, h: Tensor, mask: Tensor) -> Tensor:
        """h (B, L, D), mask (B, L) bool -> (B, L, D)."""
        q, k, v = rearrange(self.to_qkv(self.norm1(h)), "b l (three h d) -> three b h l d", three=3, h=self.heads)
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=rearrange(mask, "b l -> b 1 1 l"))
        h = h + self.to_out(rearrange(out, "b h l d -> b l (h d)"))
        return h + self.feed_forward(self.norm2(h))


def check_width(dim: int, heads: int) -> None:
    """ValueError if heads cannot share a width evenly."""
    if dim % heads or dim % 2:
        near = max(2 * heads, dim - dim % (2 * heads))
        raise ValueError(f"dim is {dim}; expected an even multiple of heads, {heads}, such as {near}")


def sinusoids(length: int, dim: int, like: Tensor) -> Tensor:
    """Positions 0..length-1 -> (L, D), sines then cosines, on the device and in the dtype of `like`."""
    half = dim // 2
    frequency = torch.exp(-math.log(10000.0) / half * torch.arange(half, device=like.device, dtype=torch.float64))
    angle = torch.arange(length, device=like.device, dtype=torch.float64).unsqueeze(-1) * frequency
    return torch.cat([angle.sin(), angle.cos()], dim=-1).to(like.dtype)


def packed(rows: Sequence[Sequence[int] | bytes], length: int) -> tuple[Tensor, Tensor]:
    """Rows of pieces, none longer than length - 2 -> ids (B, L) between START and END, and their mask, on the CPU."""
    sizes = np.fromiter((len(row) for row in rows), dtype=np.int64, count=len(rows)) + 2
    longest = int(sizes.max(initial=2))
    columns = np.arange(min(-(-longest // STEP) * STEP, length))
    mask = columns < sizes[:, None]
    ids = np.zeros(mask.shape, dtype=np.int64)
    ids[:, 0] = START
    ids[np.arange(len(rows)), sizes - 1] = END
    inner = mask & (columns > 0) & (columns < sizes[:, None] - 1)
    ids[inner] = _flat(rows) + PIECES
    return torch.from_numpy(ids), torch.from_numpy(mask)


def filled(spans: list[tuple[int, int]], length: int) -> list[tuple[int, int]]:
    """What the tokens of one row of `packed` were read from, with nothing for those that fill it up."""
    return spans + [(0, 0)] * (min(-(-len(spans) // STEP) * STEP, length) - len(spans))


def _flat(rows: Sequence[Sequence[int] | bytes]) -> NDArray[np.int64]:
    """The pieces of all rows, one after the other."""
    return np.fromiter(chain.from_iterable(rows), dtype=np.int64)


def spread(stream: Stream, index: Sequence[int]) -> Stream:
    """Rows of a stream (tokens, mask, pooled) by index: the inverse of encoding each prompt once."""
    forms = {"tokens": stream.tokens, "mask": stream.mask, "pooled": stream.pooled}
    there = {form: value for form, value in forms.items() if value is not None}
    device = next(iter(there.values())).device
    rows = torch.tensor(index, dtype=torch.long).to(device, non_blocking=True)
    return Stream(**{form: value.index_select(0, rows) for form, value in there.items()})


def repeated(stream: Stream, n: int) -> Stream:
    """The one row of a stream (tokens, mask, pooled), n times."""
    forms = {"tokens": stream.tokens, "mask": stream.mask, "pooled": stream.pooled}
    return Stream(**{form: repeat(value, "1 ... -> n ...", n=n) for form, value in forms.items() if value is not None})
