"""How exactly products of float32 matrices are taken."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import torch


@contextmanager
def tensor_float(device: torch.device) -> Generator[None]:
    """While it lasts, on a GPU: factors of float32 products are rounded to ten bits, which is more than bfloat16 has."""
    if device.type != "cuda":
        yield
        return
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
