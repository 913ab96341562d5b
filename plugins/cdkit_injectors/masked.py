"""Words under a mask: attention and means that no masked word reaches, be it zero, huge or NaN."""

from __future__ import annotations

import torch
from cdkit.parts import Stream, attention
from einops import rearrange, reduce
from torch import Tensor
from torch.nn import functional as F


def words_of(stream: Stream) -> tuple[Tensor, Tensor | None]:
    """Tokens (B, L, D), zero where masked, and the mask (B, L) or None where all count. L is at least 1.

    Masked tokens are zeroed before anything is made of them: scaled_dot_product_attention multiplies a masked value by a
    weight of zero, and zero times NaN is NaN. Raises ValueError for a mask that is not bool or not of the tokens' shape.
    """
    tokens, mask = stream.tokens, stream.mask
    if tokens is None:
        raise ValueError("the stream has no tokens, though its encoder declared a width for them")
    if tokens.shape[1] == 0:  # no word at all is one word that does not count
        return F.pad(tokens, (0, 0, 0, 1)), tokens.new_zeros((tokens.shape[0], 1), dtype=torch.bool)
    if mask is None:
        return tokens, None
    check_mask(mask, tokens)
    return tokens.masked_fill(~rearrange(mask, "b l -> b l 1"), 0), mask


def check_mask(mask: Tensor, tokens: Tensor) -> None:
    """Raise ValueError unless the mask is bool (B, L): a float mask may mean "add me" and an int one may count from 1."""
    if mask.dtype != torch.bool:
        raise ValueError(f"a mask must be bool, True where a token counts; got {str(mask.dtype).removeprefix('torch.')}")
    if mask.shape != tokens.shape[:2]:
        raise ValueError(f"the mask is {tuple(mask.shape)}, but the tokens are {tuple(tokens.shape[:2])} (batch, words)")


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, *, heads: int) -> Tensor:
    """q (B, Q, C), k and v (B, K, C), mask (B, K) bool over keys or None -> (B, Q, C).

    A sample whose keys are all masked gets some finite answer, which its caller drops (see `counts`).
    """
    keys = None if mask is None else mask | ~counts(mask)
    return attention(q, k.to(q.dtype), v.to(q.dtype), keys, heads=heads)


def heeded(q: Tensor, k: Tensor, mask: Tensor | None, *, heads: int) -> Tensor:
    """The weights of `attend`, (B, heads, Q, K), which it does not keep: 0 for keys that are masked, those of a sample throughout
    if all of its keys are.
    """
    q, k = (rearrange(x.to(q.dtype), "b n (heads d) -> b heads n d", heads=heads) for x in (q, k))
    scores = q @ k.mT / q.shape[-1] ** 0.5
    if mask is None:
        return scores.softmax(dim=-1)
    keys = rearrange(mask, "b k -> b 1 1 k")
    return scores.masked_fill(~keys, float("-inf")).softmax(dim=-1).masked_fill(~keys, 0).nan_to_num(0)


def counts(mask: Tensor) -> Tensor:
    """mask (B, L) -> (B, 1) bool: does any word of the sample count?"""
    return mask.any(dim=1, keepdim=True)


def mean(words: Tensor, mask: Tensor | None) -> Tensor:
    """The mean of words (B, L, C) that count under the mask (B, L) -> (B, C); zero where none does. Masked ones are finite."""
    if mask is None:
        return reduce(words, "b l c -> b c", "mean")
    weights = mask.to(words.dtype)
    total = reduce(words * rearrange(weights, "b l -> b l 1"), "b l c -> b c", "sum")
    return total / reduce(weights, "b l -> b 1", "sum").clamp_min(1)
