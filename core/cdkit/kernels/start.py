"""How a kernel of ours starts: at once; or, while kernels are gathered, not at all: it is compiled beside the others."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any

from cdkit.kernels.switch import has_triton

_gathers = ContextVar("gathers", default=False)


def started(kernel: Any, programs: Sequence[int]) -> Callable[..., object]:
    """A Triton function, to be called with its arguments: so many programs of it (one to three numbers)."""
    return partial(kernel.warmup, grid=programs) if _gathers.get() else kernel[programs]


@contextmanager
def gathered() -> Generator[None]:
    """Kernels that this thread asks for meanwhile are compiled in as many others as there are processors, and not started.

    What they would have written stays undefined: for a call that is made for what it compiles. At the end they are all there;
    a kernel that cannot be compiled raises what it would have raised when started.
    """
    if not has_triton():
        yield
        return
    from triton import AsyncCompileMode

    with ThreadPoolExecutor(os.cpu_count()) as threads, AsyncCompileMode(threads):
        before = _gathers.set(True)
        try:
            yield
        finally:
            _gathers.reset(before)
