"""lost: a device that fails becomes an error that says so, and nothing that was in its memory is saved."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import torch

from cdkit.errors import EnvironmentFault

SIGNS = ("CUDA error", "CUBLAS_STATUS", "CUDNN_STATUS", "NCCL error", "HIP error", "ECC error", "device-side assert")


@contextmanager
def device_blamed(where: str, device: torch.device) -> Generator[None]:
    """While it lasts: EnvironmentFault for what only a device that is lost or damaged raises. Memory has a message of its own."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        said = str(error).strip()
        if not (isinstance(error, torch.AcceleratorError) or any(sign in said for sign in SIGNS)):
            raise
        raise EnvironmentFault(
            f"{where}: {device} failed: {said.splitlines()[0] if said else type(error).__name__}; nothing is saved of this step",
            hint="the last checkpoint is intact; on a device that works the same command goes on from it",
        ) from error
