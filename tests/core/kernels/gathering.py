"""Gathers kernels for a Hopper GPU, which need not be there to compile: prints which were compiled, and whether any was started.

Started by test_kernels_gathered.py in a process of its own: a compiler writes files and starts others.
"""

from __future__ import annotations

import json
import sys
import threading
from typing import Any

import torch
from cdkit.kernels import gathered, norm_launch, plus_triton, rows_triton, stem_triton
from cdkit.kernels.start import started
from triton import knobs
from triton.backends.compiler import GPUTarget
from triton.runtime import driver

UNTOUCHED = 7.0
compiled: list[tuple[str, bool]] = []


class Absent:
    """What Triton asks a driver before it compiles; of what it asks to launch, nothing."""

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int) -> int:
        return device

    def get_current_target(self) -> GPUTarget:
        return GPUTarget("cuda", 90, 32)


def heard(*, src: Any, **_: Any) -> None:
    """Which kernel was compiled, and whether by the thread that asked."""
    compiled.append((src.fn.__name__, threading.current_thread() is threading.main_thread()))


def drawing() -> None:
    """Some of the kernels of drawing."""
    h = torch.zeros(2, 64, 16, 16).bfloat16().to(memory_format=torch.channels_last)
    rows, weight = torch.zeros(2, 256, 64).bfloat16(), torch.ones(64)
    plus_triton.launch(h, h, weight)
    norm_launch.forward(h, 32, norm_launch.Told(weight, weight, None, None), None, eps=1e-5, silu=True)
    rows_triton.forward(rows, weight, weight, 1e-5, None)
    stem_triton.launch(h[:, :4], torch.zeros(64, 4, 3, 3).bfloat16(), weight)


def plus_into(out: torch.Tensor) -> None:
    started(plus_triton._plus, (1, 1))(out, out, out[0], out, len(out), len(out), ROWS=4, COLUMNS=4)


def beside(found: list[str]) -> None:
    """A thread that gathers nothing starts its kernels, for which a GPU would have to be there."""
    try:
        plus_into(torch.zeros(4, 4))
    except AttributeError:
        found.append("it was started")


driver.set_active(Absent())
knobs.compilation.listener = heard
out, others = torch.full((4, 4), UNTOUCHED), list[str]()
with gathered():
    drawing()
    drawing()
    plus_into(out)
of_gathering = list(compiled)
with gathered():
    drawing()
    other = threading.Thread(target=beside, args=(others,))
    other.start()
    other.join()
again = compiled[len(of_gathering) :]
untouched = bool((out == UNTOUCHED).all())
json.dump({"gathered": of_gathering, "again": again, "untouched": untouched, "beside": "".join(others)}, sys.stdout)
