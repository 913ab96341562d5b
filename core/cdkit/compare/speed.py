"""speed: what an arm takes, measured with nothing else running: a step of training, a picture, the memory for both."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import torch

from cdkit.compare.budget import step_time
from cdkit.model import Model
from cdkit.spec import Spec

AT_ONCE = (1, 16)  # pictures
TIMES = 3  # after one that warms up


def trained(spec: Spec, folder: Path, device: str | None) -> dict[str, Any]:
    """`pictures_a_second` of training, and the `training_memory` (bytes on a GPU; None on a CPU, where nobody counts it)."""
    with counted() as memory:
        seconds = step_time(spec, folder, device)
    return {"pictures_a_second": spec.train.batch * spec.train.accumulate / seconds, "training_memory": memory()}


def drew(model: Model, prompts: tuple[str, ...], guidance: float | None) -> dict[str, Any]:
    """`latency`: seconds a picture, by how many are drawn at once, with the spec's own sampler; and the `sampling_memory`."""
    with counted() as memory:
        latency = {str(n): seconds(lambda n=n: draw(model, prompts, guidance, n)) / n for n in AT_ONCE}
    return {"latency": latency, "sampling_memory": memory()}


def draw(model: Model, prompts: tuple[str, ...], guidance: float | None, n: int) -> None:
    said = [prompts[i % len(prompts)] for i in range(n)] if model.columns else []
    model.sample(said, seeds=range(n), n=n, guidance=guidance)


def seconds(work: Callable[[], None]) -> float:
    """The median of a few times, the GPU's work included: pictures come back as they are drawn."""
    work()
    found: list[float] = []
    for _ in range(TIMES):
        began = time.perf_counter()
        work()
        found.append(time.perf_counter() - began)
    return median(found)


@contextmanager
def counted() -> Generator[Callable[[], int | None]]:
    """Calls back with the most bytes that the GPU held at once, in between."""
    there = torch.cuda.is_available()
    if there:
        torch.cuda.reset_peak_memory_stats()
    yield lambda: torch.cuda.max_memory_allocated() if there else None
