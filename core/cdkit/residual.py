"""residual: a branch of tokens from its normalisation to its last product, added to what it started from; by kernels at best."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from torch import Tensor, nn

from cdkit.heard import heard
from cdkit.kernels import layer_normed, opened, opens, summed_product, sums

MANY, SHALLOW = 32768, 512  # rows and columns: an H100's 65536 of 320 take 20 us less so, and 16384 of 640 some more


def residual(h: Tensor, norm: nn.LayerNorm, inner: Callable[[Tensor], Tensor], out: nn.Linear) -> Tensor:
    """h + out(inner(norm(h))): h (B, N, C), inner to (B, N, K), out from K to C; in h's dtype.

    Where it may, the normalisation leaves h plus out's bias beside its answer, and the product is added to that where it lies; or
    one kernel multiplies and adds all.
    """
    bias = cast("Tensor | None", out.bias)
    if bias is None or heard(out) or out.weight.dtype != h.dtype or not opens(h):
        return h + out(inner(layer_normed(norm, h))).to(h.dtype)
    if sums(out.weight, bias, h, fewest=MANY, deepest=SHALLOW):
        return summed_product(inner(layer_normed(norm, h)), out.weight, bias, h)
    normed, moved = opened(norm, h, bias)
    moved.flatten(0, -2).addmm_(inner(normed).flatten(0, -2), out.weight.t())
    return moved
