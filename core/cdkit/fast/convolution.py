"""Which of the library's convolutions is taken: the quickest of those that were tried on the same shapes."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import torch


@contextmanager
def tried_convolutions() -> Generator[None]:
    """While it lasts, on a GPU: each new shape is tried, unless algorithms have to be deterministic."""
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = not torch.are_deterministic_algorithms_enabled()
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before
