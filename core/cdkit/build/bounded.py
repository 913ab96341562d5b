"""bounded: a part of a billion layers is refused while it is being made, not after the machine has given up."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar

from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook

MOST = 4_000  # tensors of weights in one part: SDXL's U-Net has 1,680, CLIP's and T5's largest text encoders 517 and 220


_making: ContextVar[object] = ContextVar("the part that is being made")


@contextmanager
def bounded() -> Generator[None]:
    """While it lasts, ValueError for the first weight of any module beyond so many, on whatever device.

    A part that is made within another one, as taps are within a backbone, counts its own and not the other's.
    """
    count, part = 0, object()

    def counted(module: nn.Module, name: str, parameter: nn.Parameter) -> None:
        nonlocal count
        del module, name, parameter
        count += _making.get() is part
        if count > MOST:
            raise ValueError(f"it has more than {MOST:,} tensors of weights; expected fewer layers")

    handle, token = register_module_parameter_registration_hook(counted), _making.set(part)
    try:
        yield
    finally:
        handle.remove()
        _making.reset(token)
