"""Kernels of our own, where the library leaves time on the table: each with its plain mathematics beside it.

What is exported computes the plain mathematics unless `fast()` is on and the tensors lie on a GPU as the kernel needs them.
"""

from cdkit.kernels.attention import attention
from cdkit.kernels.gate import gelu_gate
from cdkit.kernels.norm import joined_normalised, joins, normalised, suits
from cdkit.kernels.phases import woven
from cdkit.kernels.plus import adds, plus
from cdkit.kernels.product import gated_product, gates, summed_product, sums
from cdkit.kernels.rows import layer_normed, opened, opens
from cdkit.kernels.start import gathered
from cdkit.kernels.stem import stem
from cdkit.kernels.switch import fast, is_fast, takes

__all__ = [
    "adds",
    "attention",
    "fast",
    "gated_product",
    "gates",
    "gathered",
    "gelu_gate",
    "is_fast",
    "joined_normalised",
    "joins",
    "layer_normed",
    "normalised",
    "opened",
    "opens",
    "plus",
    "stem",
    "suits",
    "summed_product",
    "sums",
    "takes",
    "woven",
]
