"""`token_merging`: self-attention over fewer tokens, those that are alike as one (Bolya and Hoffman 2023, arXiv 2303.17604).

One token of every square of tokens stays; of the others those that are most like one that stays are merged into it, and take its
answer. The paper draws at random which of a square's tokens stays; here it is the first, so pictures can be drawn again.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import torch
from annotated_types import Interval
from cdkit.hooks import hookimpl
from cdkit.parts import Approximation, Detour, Joined, Positive, SampleShape, SelfAttending
from torch import Tensor, nn

from cdkit_approximations.matching import Squares, matched

Share = Annotated[float, Interval(ge=0, lt=1)]
Square = Annotated[int, Interval(ge=2, le=64)]


@dataclass(frozen=True)
class TokenMerging(Approximation):
    """Queries, keys and values are of the merged tokens, and each token takes the answer of what it was merged into.

    ratio: the share of the tokens that are merged away, as far as there are others to stand for them; 0 changes nothing.
    square: rows and columns of the squares, of each of which one token stays. stride: only where a token is of at most so many
    rows of the picture; null is the finest self-attention. Raises ValueError where there is none.
    """

    ratio: Share = 0.5
    square: Square = 2
    stride: Positive | None = None

    def detours(self, network: nn.Module, sample: SampleShape) -> Sequence[Detour]:
        attentions = [module for module in network.modules() if isinstance(module, SelfAttending)]
        strides = sorted({module.stride for module in attentions})
        finest = self.stride or min(strides, default=0)
        found = [module for module in attentions if module.stride <= finest]
        if not found:
            there = f"there it is of {', '.join(map(str, strides))} rows a token" if strides else "it has none that can be told"
            raise ValueError(f"no self-attention of {type(network).__name__} is of at most {finest} rows a token; {there}")
        return [Detour(module, partial(merged, self.ratio, Squares.of(sample, module.stride, self.square))) for module in found]


def merged(
    ratio: float,
    squares: Squares,
    own: Callable[..., Any],
    given: tuple[Any, ...],
    phase: Hashable,
    kept: Tensor | None,
) -> tuple[Any, Tensor | None]:
    """attention(joined, n) over the picture's tokens that are left, and all that was joined to them."""
    del phase, kept
    joined, n = given
    away = min(round(ratio * n), squares.going)
    if not away:
        return own(joined, n), None
    merged = matched(joined.tokens[:, :n], squares, away)
    return merged.spread(own(fewer(joined, n, merged.tokens), n - away)), None


def fewer(joined: Joined, n: int, left: Tensor) -> Joined:
    """The same with others in place of the picture's tokens, which are the first of all, and which no mask leaves out."""
    mask = None if joined.mask is None else joined.mask[:, n - left.shape[1] :]
    return Joined(torch.cat([left, joined.tokens[:, n:]], dim=1), mask, joined.keys, joined.values)


@hookimpl
def cdkit_approximation() -> type[TokenMerging]:
    return TokenMerging
