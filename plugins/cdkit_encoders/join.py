"""join: several conditions' streams as one. SDXL joins two text encoders by features, its pooled text with its sizes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from cdkit.hooks import hookimpl
from cdkit.parts import Joiner, Stream, Widths
from torch import Tensor
from torch.nn import functional as F


class Join(Joiner):
    """Streams -> one stream that has a single form, by axis.

    axis: along what they are joined.

    "tokens": tokens one after the other (B, L1 + L2, D), masks too; all need one D. "features": tokens side by side
    (B, L, D1 + D2), position by position; shorter ones are filled up with zeros, a position counts if it does in any
    part, and parts that do not count there are zero. "pooled": pooled vectors side by side (B, P1 + P2).
    """

    def __init__(self, widths: tuple[Widths, ...], *, axis: Literal["tokens", "features", "pooled"] = "tokens") -> None:
        super().__init__()
        self.axis = axis
        form = "pooled" if axis == "pooled" else "tokens"
        sizes: list[int] = [getattr(width, form) for width in widths]
        check(sizes, form, axis)
        total = sizes[0] if axis == "tokens" else sum(sizes)
        self.widths = Widths(pooled=total) if axis == "pooled" else Widths(tokens=total)

    def forward(self, *streams: Stream) -> Stream:
        """Streams of one batch, in the order of the widths. The mask is None where every part's is and lengths agree."""
        if self.axis == "pooled":
            return Stream(pooled=torch.cat([required(stream.pooled) for stream in streams], dim=-1))
        tokens = [required(stream.tokens) for stream in streams]
        if self.axis == "tokens":
            return Stream(tokens=torch.cat(tokens, dim=1), mask=in_a_row(tokens, [stream.mask for stream in streams]))
        return side_by_side(tokens, [stream.mask for stream in streams])


def in_a_row(tokens: Sequence[Tensor], masks: Sequence[Tensor | None]) -> Tensor | None:
    """The masks one after the other, (B, L1 + L2); None if there is none."""
    if all(mask is None for mask in masks):
        return None
    return torch.cat([written(part, mask) for part, mask in zip(tokens, masks, strict=True)], dim=1)


def side_by_side(tokens: Sequence[Tensor], masks: Sequence[Tensor | None]) -> Stream:
    """Tokens of each part filled up to the longest, joined along their features; zero where only other parts count."""
    lengths = [part.shape[1] for part in tokens]
    if len(set(lengths)) == 1 and all(mask is None for mask in masks):
        return Stream(tokens=torch.cat(list(tokens), dim=-1))
    long = [F.pad(part, (0, 0, 0, max(lengths) - part.shape[1])) for part in tokens]
    rows = [written(part, mask) for part, mask in zip(tokens, masks, strict=True)]
    own = torch.stack([F.pad(row, (0, max(lengths) - row.shape[1])) for row in rows])
    counts = own.any(dim=0)
    # Where no part counts, tokens stay as they are: a method that attends to padding reads what the encoders made of it.
    clean = [torch.where((row | ~counts).unsqueeze(-1), part, 0) for part, row in zip(long, own, strict=True)]
    return Stream(tokens=torch.cat(clean, dim=-1), mask=counts)


def written(tokens: Tensor, mask: Tensor | None) -> Tensor:
    """The mask of tokens (B, L, D), all True where it was left unsaid."""
    return torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device) if mask is None else mask


def required(form: Tensor | None) -> Tensor:
    """A form that the widths promised."""
    if form is None:
        raise ValueError("a joined stream lacks a form that its encoder declares in its widths")
    return form


def check(sizes: Sequence[int], form: str, axis: str) -> None:
    """ValueError if streams of these widths cannot be joined along this axis."""
    if len(sizes) < 2:
        raise ValueError(f"join needs at least two conditions in `of`, got {len(sizes)}")
    if not all(sizes):
        raise ValueError(f"join along {axis!r} needs {form} of every condition in `of`; number {sizes.index(0) + 1} has none")
    if axis == "tokens" and len(set(sizes)) > 1:
        written_out = " and ".join(str(size) for size in dict.fromkeys(sizes))
        raise ValueError(f"join along 'tokens' needs tokens of one width, got {written_out}; `axis: features` joins any widths")


@hookimpl
def cdkit_encoder() -> type[Join]:
    return Join
