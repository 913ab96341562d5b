"""Which device, which precision, and how repeatable."""

from __future__ import annotations

import os
from typing import Any, Literal

import torch

from cdkit.errors import EnvironmentFault

Precision = Literal["auto", "fp32", "bf16"]


def pick_device(asked: str | None) -> torch.device:
    """The device that is asked for, or the best there is. EnvironmentFault if it is not there."""
    if asked is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(asked)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).strip().splitlines()[0]
        raise EnvironmentFault(
            f"--device {asked}: cannot be used here: {reason}", hint="leave --device out for the best there is"
        ) from error
    return device


def mixed_precision(asked: Precision, device: torch.device) -> Literal["no", "bf16"]:
    """`auto` takes bfloat16 on a GPU that has it, and float32 elsewhere."""
    if asked == "auto":
        return "bf16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "no"
    return "bf16" if asked == "bf16" else "no"


def accelerator(options: Any, device: torch.device) -> Any:
    """Accelerate's, for this device and precision; its state is global, so what an earlier training set is forgotten."""
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState, PartialState

    # There is no public way to forget it, and a second training in one process may want another precision.
    AcceleratorState._reset_state()  # pyright: ignore[reportPrivateUsage]
    PartialState._reset_state()  # pyright: ignore[reportPrivateUsage]
    return Accelerator(mixed_precision=mixed_precision(options.precision, device), cpu=device.type == "cpu")


def be_deterministic() -> None:
    """Bitwise the same on the same machine. EnvironmentFault if CUDA was started without what that needs."""
    name, value = "CUBLAS_WORKSPACE_CONFIG", ":4096:8"
    if torch.cuda.is_available() and torch.cuda.is_initialized() and os.environ.get(name) != value:
        raise EnvironmentFault(f"--deterministic needs {name}={value} before CUDA starts", hint=f"export {name}={value}")
    os.environ[name] = value
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
