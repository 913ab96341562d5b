"""crew: who does a comparison's jobs, and on which devices: this process alone, workers beside it, or a Ray cluster."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Literal

import torch

from cdkit.compare.job import Answers, Ask, Crew, Job, Workplace, attempt
from cdkit.compare.setting import Setting
from cdkit.engine.device import pick_device

EngineName = Literal["local", "ray"]


@contextmanager
def alone(workplace: Workplace) -> Generator[Ask]:
    """One job after the other, here; after the first that is out of time there are no more."""

    def ask(jobs: Sequence[Job]) -> Answers:
        for place, job in enumerate(jobs):
            outcome = attempt(workplace, job)
            yield place, outcome
            if outcome.unfinished:
                return

    with Setting.shared(1).taken():
        yield ask


in_turn = Crew(alone)


def crew_of(engine: EngineName, jobs: int | None, device: str | None) -> Crew:
    """Who does the jobs. jobs: how many at once; None: one for each GPU that may be used, one where there is none.

    EnvironmentFault for a device that is not here, and where Ray is asked for and not installed.
    """
    if engine == "ray":
        from cdkit.compare.on_ray import on_ray

        return on_ray(jobs, device)
    there = devices(device)
    count = jobs or len(there)
    if count == 1:
        return in_turn
    from cdkit.compare.workers import workers

    return workers(count, there)


def devices(asked: str | None) -> list[str]:
    """Those that jobs are dealt out to: every GPU where none is named."""
    chosen = pick_device(asked)
    if chosen.type != "cuda" or ":" in str(chosen):
        return [str(chosen)]
    return [f"cuda:{number}" for number in range(torch.cuda.device_count())]
