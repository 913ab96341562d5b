"""What every benchmark does: time on a device, and note what was found."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
NOTED: dict[str, Any] = {}


def note(name: str, value: Any) -> None:
    """Print it, and keep all so far as JSON in the folder OUT."""
    NOTED[name] = value
    print(f"{name}: {value}", flush=True)
    if folder := os.environ.get("OUT"):
        Path(folder, f"{Path(sys.argv[0]).stem}.json").write_text(json.dumps(NOTED, indent=1))


def wait() -> None:
    if DEVICE == "cuda":
        torch.cuda.synchronize()


def milliseconds(call: Callable[[], Any], rounds: int = 20, warm: int = 5) -> float:
    """The median of a call, the GPU's work included."""
    for _ in range(warm):
        call()
    times: list[float] = []
    for _ in range(rounds):
        wait()
        began = time.perf_counter()
        call()
        wait()
        times.append(1e3 * (time.perf_counter() - began))
    return median(times)


def _replay(graph: torch.cuda.CUDAGraph, held: Callable[[], Any]) -> None:
    del held
    graph.replay()


def recorded(call: Callable[[], Any]) -> Callable[[], None]:
    """The call as a CUDA graph; what the call holds is held as long, for the graph reads it where it lies."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            call()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        call()

    return partial(_replay, graph, call)


def versions() -> list[Any]:
    import diffusers

    card = torch.cuda.get_device_name() if DEVICE == "cuda" else f"{torch.get_num_threads()} threads"
    return [card, f"torch {torch.__version__}", f"cuDNN {torch.backends.cudnn.version()}", f"diffusers {diffusers.__version__}"]


def products_a_second() -> float:
    """FLOP/s of a product of two bfloat16 matrices of 8192 x 8192, random numbers."""
    n = 8192
    a, b = (torch.randn(n, n, device=DEVICE, dtype=torch.bfloat16) for _ in range(2))
    return 2 * n**3 / (milliseconds(lambda: a @ b, 10) / 1e3)
