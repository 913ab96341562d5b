"""Site: a named place in a network, where conditions come in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

SiteKind: TypeAlias = Literal["input", "embed", "norm", "attend", "sequence", "branch", "skip"]
Layout: TypeAlias = Literal["map", "vector", "tokens"]


@dataclass(frozen=True, slots=True)
class Site:
    """A named place where a backbone lets conditions in.

    `input`: right after the stem. `embed`: the time embedding. `norm`: after a normalisation, before the activation.
    `attend`: after self-attention, before the feed-forward. `sequence`: the input of self-attention. `branch`: the end
    of a residual branch, before it is added. `skip`: a skip connection, before it is joined.
    """

    name: str  # unique in its backbone and stable: "down.1.res.0.norm1"
    kind: SiteKind
    layout: Layout  # h is (B, C, H, W), (B, C) or (B, N, C); at `attend` and `sequence` always tokens
    width: int  # C
    stride: int  # input rows per row of h; 1 at the input; 1 for a vector
    embedding: int  # E of the time embedding that a tap is handed here
    keys: int = 0  # A of self-attention's keys and values, at a `sequence` site that takes more of them; 0: it takes none
    padded: int = 1  # h stands for the picture with zeros on all sides, the odd one below and right, up to multiples of this
