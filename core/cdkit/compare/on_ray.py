"""on_ray: a comparison's jobs as tasks of a Ray cluster, a GPU each where it has GPUs (Moritz et al. 2018, arXiv 1712.05889).

The folder in which the command is given and the comparison's must lie where every node sees them, under the same path: all that a
cell's work reads and leaves is there.
"""

from __future__ import annotations

import importlib.util
import logging
import os
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from cdkit.compare.job import Answers, Ask, Crew, Job, Outcome, Workplace
from cdkit.compare.live import live
from cdkit.compare.perform import Interrupted, performed
from cdkit.compare.setting import Setting
from cdkit.engine.stop import Stop, stoppable
from cdkit.errors import EnvironmentFault, UsageError

HEARTBEAT = 0.5  # seconds between looks at signals


def on_ray(jobs: int | None, device: str | None) -> Crew:
    """A crew that is a Ray cluster: the one that RAY_ADDRESS or this machine knows, else this machine alone.

    jobs: tasks at once at most; None: as many as the cluster has room for. EnvironmentFault where Ray is not installed,
    UsageError for a device by number, since it is Ray that deals them out.
    """
    if importlib.util.find_spec("ray") is None:
        raise EnvironmentFault("--engine ray: Ray is not installed", hint='pip install "cdkit[ray]", on every node')
    if device not in {None, "cpu", "cuda"}:
        raise UsageError(f"--engine ray deals out the devices itself; --device {device} cannot be kept", hint="cpu, cuda or none")

    @contextmanager
    def crew(workplace: Workplace) -> Generator[Ask]:
        with cluster() as ray, stoppable() as stop:
            given = ray.put((workplace, Setting(Setting.shared(1).deterministic, 1), Path.cwd()))
            task = ray.remote(max_retries=0, num_cpus=1, num_gpus=share(ray, device))(work)

            def start(job: Job) -> Any:
                return task.remote(given, job)

            yield lambda asked: answers(ray, start, asked, jobs or len(asked), stop, str(workplace.folder))

    return Crew(crew, "on Ray" if jobs is None else f"on Ray, {jobs} jobs at once at most")


@contextmanager
def cluster() -> Generator[Any]:
    """Ray, connected; this machine alone is a cluster where there is none."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is told to anybody
    ray: Any = import_module("ray")  # which those who check types need not install
    mine = not ray.is_initialized()
    if mine:
        ray.init(log_to_driver=False, logging_level=logging.ERROR)
    try:
        yield ray
    finally:
        if mine:
            ray.shutdown()


def share(ray: Any, device: str | None) -> int:
    """GPUs of a task."""
    return int(device != "cpu" and ray.cluster_resources().get("GPU", 0) > 0)


def work(given: tuple[Workplace, Setting, Path], job: Job) -> Outcome:
    """A task, in the folder where the command was given: paths mean what they meant there. Ray shows it its own GPU alone."""
    workplace, setting, here = given
    os.chdir(here)
    setting.take()
    return performed(workplace, job)


def answers(ray: Any, start: Any, jobs: Sequence[Job], most: int, stop: Stop, where: str) -> Answers:
    """What the tasks answer, so many of them at once. Interrupted, once all have saved, where a signal comes meanwhile."""
    waiting, running, told = list(enumerate(jobs))[::-1], dict[Any, int](), False
    with live(jobs) as show:
        while running or (waiting and not stop.asked):
            while waiting and len(running) < most and not stop.asked:
                place, job = waiting.pop()
                running[start(job)] = place
            for reference in ray.wait(list(running), timeout=HEARTBEAT)[0]:
                yield running.pop(reference), answer(ray, reference)
            if stop.asked and not told:
                told = True  # once: who hears it twice does not save
                for reference in running:
                    ray.cancel(reference)
            show([jobs[place] for place in running.values()], len(jobs) - len(running) - len(waiting))
    if stop.asked:
        raise Interrupted(stop.asked, where)


def answer(ray: Any, reference: Any) -> Outcome:
    try:
        return ray.get(reference)
    except ray.exceptions.TaskCancelledError:
        return Outcome(unfinished=True)
    except ray.exceptions.RayError as error:
        return Outcome(problem=f"its task did not answer: {error}", hint="is cdkit installed on every node?")
