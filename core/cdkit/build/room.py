"""Room: is there memory for a model's weights? Asked of its shapes, before a single byte is taken."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from pathlib import Path

from cdkit.errors import EnvironmentFault
from cdkit.model import Model

CGROUP = Path("/sys/fs/cgroup/memory.max")
TRAINED = 4  # weights, their gradients, and the two moments of Adam


def check_room(model: Model, *, training: bool = False) -> None:
    """EnvironmentFault, with bytes needed and bytes there, where this machine cannot hold the weights of a model.

    model: on the meta device. training: beside each weight that learns there lie its gradient and two moments.
    """
    needed = sum(
        parameter.numel() * parameter.element_size() * (TRAINED if training and parameter.requires_grad else 1)
        for parameter in model.parameters()
    )
    there = min(limits(), default=needed)
    if needed > there:
        what = "weights, gradients and optimizer" if training else "weights"
        raise EnvironmentFault(
            f"{model.spec.place}: {model.spec.name} needs {needed:,} bytes for its {what}; this machine has {there:,}",
            hint="a smaller backbone.width or fewer blocks need less",
        )


def limits() -> Iterator[int]:
    """Every bound on this process's memory that can be known: the machine's, its container's, its own."""
    if hasattr(os, "sysconf"):
        yield os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if CGROUP.is_file() and (text := CGROUP.read_text().strip()).isdecimal():
        yield int(text)
    own = resource.getrlimit(resource.RLIMIT_AS)[0]
    if own != resource.RLIM_INFINITY:
        yield own
