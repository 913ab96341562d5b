"""Which of the library's attentions is asked first."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from torch.nn.attention import SDPBackend, sdpa_kernel

# Stable Diffusion's heads of 40, 80 and 160 channels on an H100: cuDNN's takes about half the time of flash attention's.
ORDER = (
    SDPBackend.CUDNN_ATTENTION,
    SDPBackend.FLASH_ATTENTION,
    SDPBackend.EFFICIENT_ATTENTION,
    SDPBackend.MATH,
)


@contextmanager
def best_attention() -> Generator[None]:
    """While it lasts: the fastest attention that can do what is asked (widths of heads, masks, dtype)."""
    with sdpa_kernel(list(ORDER), set_priority=True):
        yield
