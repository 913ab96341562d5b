"""How a kernel of ours starts: at once; or, while kernels are gathered, not at all: it is compiled beside the others."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any

from cdkit.kernels.switch import has_triton

_gathers = False


def started(kernel: Any, programs: Sequence[int]) -> Callable[..., object]:
    """A Triton function, to be called with its arguments: so many programs of it (one to three numbers)."""
    return partial(kernel.warmup, grid=programs) if _gathers else kernel[programs]


@contextmanager
def gathered() -> Generator[None]:
    """While it lasts, kernels that are asked for are compiled in as many threads as there are processors, and none is started.

    What they would have written stays undefined: for a call that is made for what it compiles. At the end they are all there;
    a kernel that cannot be compiled raises what it would have raised when started. Of one thread at a time.
    """
    global _gathers
    if not has_triton():
        yield
        return
    from triton import AsyncCompileMode

    with ThreadPoolExecutor(os.cpu_count()) as threads, AsyncCompileMode(threads):
        _gathers = True
        try:
            yield
        finally:
            _gathers = False
