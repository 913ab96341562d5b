"""speed: what an arm takes, measured with nothing else running: a step of training, a picture, the memory for both.

Arms are measured in turn, round after round, so that a machine that grows hot or busy is slow for all of them; what counts is an
arm's median over the rounds, and the most memory of any.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

import torch

from cdkit.compare.budget import step_time
from cdkit.compare.held import Held
from cdkit.engine.device import pick_device
from cdkit.model import Model
from cdkit.spec import Spec

AT_ONCE = (1, 16)  # pictures
ROUNDS = 3
T = TypeVar("T")


def trained(spec: Spec, folder: Path, device: str | None) -> dict[str, Any]:
    """`pictures_a_second` of training, and the `training_memory`: bytes that tensors held at most."""
    seconds, memory = measured(lambda: step_time(spec, folder, device), pick_device(device))
    return {"pictures_a_second": spec.train.batch * spec.train.accumulate / seconds, "training_memory": memory}


def drew(load: Callable[[], Model], prompts: tuple[str, ...], guidance: float | None, device: str | None) -> dict[str, Any]:
    """`latency`: seconds a picture, by how many are drawn at once, with the spec's own sampler; and the `sampling_memory`.

    The model is loaded in here, for its weights count, and is gone afterwards.
    """

    def timed() -> dict[str, float]:
        model = load()
        return {str(n): seconds(lambda n=n: draw(model, prompts, guidance, n)) / n for n in AT_ONCE}

    latency, memory = measured(timed, pick_device(device))
    return {"latency": latency, "sampling_memory": memory}


def measured(work: Callable[[], T], device: torch.device) -> tuple[T, int]:
    """What work answers that times itself, and its memory. Counting slows a CPU, so there the work is done once more for it."""
    if device.type != "cuda":
        answer = work()
        with Held() as held:
            work()
        return answer, held.most
    with counted(device) as memory:
        answer = work()
    return answer, memory()


def together(rounds: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One arm's rounds as one."""
    return {
        "latency": {n: median(one["latency"][n] for one in rounds) for n in rounds[0]["latency"]},
        "pictures_a_second": median(one["pictures_a_second"] for one in rounds),
        **{key: max(one[key] for one in rounds) for key in ("training_memory", "sampling_memory")},
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


@contextmanager
def counted(device: torch.device) -> Generator[Callable[[], int]]:
    """Calls back with the most bytes that tensors held on the GPU at once, in between, beyond those that were there before."""
    gc.collect()
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    yield lambda: torch.cuda.max_memory_allocated(device) - before
