"""workers: processes beside this one that do a comparison's jobs, each on its device; they stop, saved, when this one is told to.

Workers have a session of their own, so that Ctrl-C reaches this process alone, which tells them once. Where this process is
killed they end at once: what they have not saved is done again by the next.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import wait as wait_for
from types import FrameType
from typing import Any

import torch

from cdkit.compare.job import Answers, Ask, Crew, Job, Outcome, Workplace
from cdkit.compare.live import live
from cdkit.compare.perform import Interrupted, performed
from cdkit.compare.setting import Setting
from cdkit.engine.stop import Stop, stoppable

HEARTBEAT = 0.2  # seconds between looks at signals and at the clock


class Halt(BaseException):
    """Raised in a worker's job when it is to stop."""


# ---------------------------------------------------------------------- on this side


def workers(count: int, devices: Sequence[str]) -> Crew:
    """A crew of so many processes, to which the devices are dealt in turn."""

    @contextmanager
    def crew(workplace: Workplace) -> Generator[Ask]:
        context = multiprocessing.get_context("spawn")  # a fork would inherit CUDA and threads in an unknown state
        halt, number = context.Event(), context.Value("i", 0)
        given = (workplace, tuple(devices), Setting.shared(count), halt, number)
        pool = ProcessPoolExecutor(count, mp_context=context, initializer=begin, initargs=given)
        try:
            with stoppable() as stop:
                yield lambda jobs: answers(pool, count, jobs, stop, halt.set, str(workplace.folder))
        except BaseException:
            halt.set()
            raise
        finally:
            pool.shutdown(cancel_futures=True)

    return Crew(crew, f"{count} jobs at once on {len(set(devices))} device{'s' * (len(set(devices)) > 1)}")


def answers(
    pool: ProcessPoolExecutor, count: int, jobs: Sequence[Job], stop: Stop, halt: Callable[[], None], where: str
) -> Answers:
    """What so many workers answer, who take jobs in their order. Interrupted, once all have saved, where a signal comes."""
    with deaf():
        places = {pool.submit(work, job): place for place, job in enumerate(jobs)}
    left: set[Future[Outcome]] = set(places)
    with live(jobs) as show:
        while left:
            done, left = wait(left, HEARTBEAT, FIRST_COMPLETED)
            for future in done:
                yield places[future], answer(future)
            if stop.asked:
                halt()
                left = {future for future in left if not future.cancel()}
            show([jobs[place] for place in sorted(map(places.__getitem__, left))[:count]], len(jobs) - len(left))
    if stop.asked:
        raise Interrupted(stop.asked, where)


def answer(future: Future[Outcome]) -> Outcome:
    if future.cancelled():
        return Outcome(unfinished=True)
    try:
        return future.result()
    except BrokenProcessPool:
        problem = "a worker process ended without an answer, as one does that is killed or for which there is no memory"
        return Outcome(problem=problem, hint="fewer --jobs need less memory; the same command goes on")


@contextmanager
def deaf() -> Generator[None]:
    """While it lasts signals wait, and processes that are started now do not hear them before they can."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


# ---------------------------------------------------------------------- on theirs


@dataclass
class Worker:
    """What a worker process knows: where it works, on a device of its own, and whether it is at a job."""

    workplace: Workplace
    halted: Callable[[], bool]
    busy: bool = False

    def hear(self, number: int, frame: FrameType | None) -> None:
        """A signal outside of training, which has its own way to stop."""
        del number, frame
        if self.busy:
            raise Halt


_workers: list[Worker] = []  # of this process: one, once it has begun


def begin(workplace: Workplace, devices: Sequence[str], setting: Setting, halt: Any, number: Any) -> None:
    """A worker's first act."""
    os.setsid()
    with number.get_lock():
        place = int(number.value)
        number.value += 1
    workplace.device = devices[place % len(devices)]
    worker = Worker(workplace, halt.is_set)
    _workers.append(worker)
    signal.signal(signal.SIGTERM, worker.hear)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    setting.take()
    if workplace.device.startswith("cuda"):
        torch.cuda.set_device(workplace.device)  # or whoever says `cuda` would open the first one, for every worker
    threading.Thread(target=watch, args=(halt,), daemon=True).start()


def watch(halt: Any) -> None:
    """Ends this process with its parent, and tells its job to stop when all are told to."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    while not halt.is_set():
        if wait_for([parent.sentinel], HEARTBEAT):
            os._exit(1)
    os.kill(os.getpid(), signal.SIGTERM)
    parent.join()
    os._exit(1)


def work(job: Job) -> Outcome:
    """Do a job here."""
    worker = _workers[0]
    if worker.halted():
        return Outcome(unfinished=True)
    worker.busy = True
    try:
        return performed(worker.workplace, job)
    except Halt:
        return Outcome(unfinished=True)
    finally:
        worker.busy = False
