"""speed: what an arm takes, measured with nothing else running: a step of training, a picture, the memory for both.

Arms are timed in turn, round after round, so that a machine that grows hot or busy is slow for all of them; what counts is an
arm's median over the rounds. Memory is counted once, in work that nobody times, for counting slows a CPU.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch

from cdkit.compare.budget import step_time
from cdkit.compare.held import Held
from cdkit.model import Model
from cdkit.spec import Spec

AT_ONCE = (1, 16)  # pictures
ROUNDS = 3


def trained(spec: Spec, folder: Path, device: str | None) -> dict[str, float]:
    """`pictures_a_second` of training."""
    return {"pictures_a_second": spec.train.batch * spec.train.accumulate / step_time(spec, folder, device)}


def drew(model: Model, prompts: tuple[str, ...], guidance: float | None) -> dict[str, dict[str, float]]:
    """`latency`: seconds a picture, by how many are drawn at once, with the spec's own sampler."""
    return {"latency": {str(n): seconds(lambda n=n: draw(model, prompts, guidance, n)) / n for n in AT_ONCE}}


def together(rounds: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One arm's rounds as one."""
    return {
        "latency": {n: median(one["latency"][n] for one in rounds) for n in rounds[0]["latency"]},
        "pictures_a_second": median(one["pictures_a_second"] for one in rounds),
    }


def draw(model: Model, prompts: tuple[str, ...], guidance: float | None, n: int) -> None:
    said = [prompts[i % len(prompts)] for i in range(n)] if model.columns else []
    model.sample(said, seeds=range(n), n=n, guidance=guidance)


def seconds(work: Callable[[], None]) -> float:
    """Once, after once that warms up; the GPU's work included: pictures come back as they are drawn."""
    work()
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def held(work: Callable[[], object], device: torch.device) -> int:
    """The most bytes that tensors held at once during the work, beyond those that were there before."""
    if device.type != "cuda":
        with Held() as counter:
            work()
        return counter.most
    gc.collect()
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    work()
    return torch.cuda.max_memory_allocated(device) - before
