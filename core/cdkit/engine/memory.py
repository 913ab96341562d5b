"""Memory: an allocation that fails becomes an error that says what was asked for, what was in use, and which batch needs less."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import torch

from cdkit.errors import EnvironmentFault
from cdkit.spec import TrainSection

CPU = "can't allocate memory"  # torch's allocator on the CPU has no exception of its own


@contextmanager
def memory_blamed(where: str, options: TrainSection, device: torch.device) -> Generator[None]:
    """While it lasts: EnvironmentFault with the batch that needs half, for any allocation that fails."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if not isinstance(error, (torch.OutOfMemoryError, MemoryError)) and CPU not in str(error):
            raise
        raise EnvironmentFault(f"{where}: out of memory on {used(device)}: {reason(error)}", hint=hint(options)) from error


def used(device: torch.device) -> str:
    """The device, and on a GPU the most that was ever in use there."""
    if device.type != "cuda":
        return str(device)
    return f"{device} ({torch.cuda.max_memory_allocated(device) / 2**30:.1f} GiB in use at most)"


def reason(error: BaseException) -> str:
    """The sentence that says how much was asked for."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].rpartition("DefaultCPUAllocator: ")[2]


def hint(options: TrainSection) -> str:
    """The same training in half the memory, if there is one."""
    if options.batch % 2:
        return "a smaller train.batch needs less; the last checkpoint is intact"
    half = f"train.batch={options.batch // 2} with train.accumulate={options.accumulate * 2}"
    return f"{half} learns from as many pictures an update in about half the memory; the last checkpoint is intact"
