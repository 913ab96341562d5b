"""Checks of an injector: laid out without memory, moved, copied, compiled."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor

from cdkit.testing.case import InjectorCase, Mounted, noisy
from cdkit.testing.elsewhere import require_at_home, require_copies, require_layout, require_whole_graph
from cdkit.testing.streams import each


def check_meta(case: InjectorCase) -> None:
    """Made on the meta device, taps have the weights that they have on the CPU, and no numbers: so `cdkit build` lays out."""
    require_layout(lambda: case.born(torch.float32).network)


def check_devices(case: InjectorCase) -> None:
    """Moved to another device it prepares and computes there: every tensor that it keeps is a parameter or a buffer."""
    made, streams = case.mounted(dtype=torch.float32), case.streams()

    def answer(device: torch.device) -> Tensor:
        there = copy.deepcopy(made)
        there.network.to(device)
        return there([each(stream, lambda value: value.to(device)) for stream in streams])

    require_at_home(answer)


def check_copies(case: InjectorCase) -> None:
    """A deep copy (an average of weights) and a pickled copy (another process) draw the same, bit for bit."""

    def drawn(mounted: Mounted) -> Any:
        with torch.no_grad():
            return mounted(case.streams())

    require_copies(case.mounted(dtype=torch.float32), drawn)


def check_compile(case: InjectorCase) -> None:
    """torch.compile(fullgraph=True) takes the network with its taps as one graph."""
    mounted = case.mounted(dtype=torch.float32)
    with torch.no_grad():
        signals = mounted.prepare(case.streams())
        x, t = noisy(case.sample).float(), torch.linspace(10, 990, len(noisy(case.sample)))
        require_whole_graph(mounted.network, lambda network: network(x, t, signals))
