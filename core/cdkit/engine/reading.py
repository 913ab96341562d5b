"""Reading: batches in order, made ahead of time by worker processes; one that fails, dies or hangs is an error that names it."""

from __future__ import annotations

import signal
import threading
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import wait
from typing import Any

import torch
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as Steps

from cdkit.diffusion.random import derive
from cdkit.engine.batches import Batch, Batches
from cdkit.errors import CdkitError, DataError

SHOWN = 3  # pictures in an error


@dataclass(frozen=True, slots=True)
class Failed:
    """What making a batch raised. Sent as a value: torch would raise it again with the worker's traceback as its text."""

    error: CdkitError


class Attempts(Steps["Batch | Failed"]):
    """Batch number `step`, or why there is none."""

    def __init__(self, batches: Batches) -> None:
        self.batches = batches

    def __getitem__(self, step: int) -> Batch | Failed:
        try:
            return self.batches[step]
        except CdkitError as error:
            return Failed(error)
        except Exception as error:  # a data set is anybody's code
            said = DataError(
                f"{self.batches.described(step, SHOWN)} cannot be made: {type(error).__name__}: {error}",
                hint="`--debug` shows where; with train.workers=0 a debugger can look at it",
            )
            said.add_note(traceback.format_exc())
            return Failed(said)


class Reading(Iterator[Batch]):
    """Batches `start` to `stop`. DataError for one that cannot be made, and for a worker that dies or hangs.

    workers: processes; 0 makes each batch when it is asked for. patience: seconds that a batch may be waited for.
    """

    def __init__(self, batches: Batches, *, start: int, stop: int, workers: int, patience: float) -> None:
        self.batches, self.step, self.patience = batches, start, patience
        self._alarm = signal.getsignal(signal.SIGCHLD)
        self._stream: Any = iter(
            DataLoader(
                Attempts(batches),
                sampler=range(start, stop),
                batch_size=None,
                num_workers=workers,
                collate_fn=_as_it_is,
                timeout=patience if workers else 0,
                prefetch_factor=4 if workers else None,
                persistent_workers=False,
                multiprocessing_context="fork" if workers else None,
                worker_init_fn=_leave_signals_to_training,
                # torch seeds its workers from the global state; ours draws nothing from it, and must not move it.
                generator=torch.Generator().manual_seed(derive(batches.seed, "loader")),
            )
        )
        self._workers: Sequence[Any] = getattr(self._stream, "_workers", ())
        if self._workers:
            _hear_children(signal.SIG_DFL)  # torch raises a worker's death wherever training is, in the midst of an update too

    def __next__(self) -> Batch:
        if self._workers:
            self._wait()
        try:
            made: Batch | Failed = next(self._stream)
        except RuntimeError as error:
            if (fault := self.blamed(error)) is None:
                raise
            raise fault from error
        if isinstance(made, Failed):
            raise made.error
        self.step += 1
        return made

    def has_come(self) -> bool:
        """Is there something of a worker's that nobody has taken yet? Where there are no workers, nothing comes."""
        if not self._workers or not self._stream._task_info:
            return False
        owing = self._stream._task_info.get(self._stream._rcvd_idx, ())
        return len(owing) == 2 or self._stream._worker_result_queue._reader.poll()

    def close(self) -> None:
        """End the workers."""
        if self._workers:
            self._stream._shutdown_workers()
            _hear_children(self._alarm)

    def _wait(self) -> None:
        """Until something has come or the worker that owes the next batch has ended; torch alone looks after it too late."""
        owing = self._stream._task_info.get(self._stream._rcvd_idx, ())
        if len(owing) == 1:  # its number, and not yet what it made
            results, worker = self._stream._worker_result_queue._reader, self._workers[owing[0]]
            come = wait([results, worker.sentinel], self.patience)
            if not come:
                raise self.hung()
            if results not in come:
                worker.join(self.patience)  # it closes what it had open a moment before it has ended
                raise self.hung() if worker.is_alive() else self.mourned()

    def mourned(self) -> DataError:
        """For workers that are dead."""
        dead = [ended(number, worker) for number, worker in enumerate(self._workers) if not worker.is_alive()]
        waiting = self.batches.described(self.step, SHOWN)
        hint = "a worker that is killed most often had no memory left: fewer train.workers need less"
        return DataError(f"{' and '.join(dead)}, before {waiting} was there", hint=hint)

    def blamed(self, error: RuntimeError) -> DataError | None:
        """What torch says of a worker, in our words; None for any other error."""
        if "exited unexpectedly" in str(error):
            return self.mourned()
        return self.hung() if str(error).startswith("DataLoader timed out") else None

    def hung(self) -> DataError:
        """For the worker that owes the next batch."""
        number = self._stream._task_info[self._stream._rcvd_idx][0]
        waiting = self.batches.described(self.step, SHOWN)
        return DataError(
            f"worker {number} (process {self._workers[number].pid}) has not made {waiting} within {self.patience:g} s",
            hint="if reading is so slow, raise train.worker_timeout; else look at what that process waits for",
        )


def _hear_children(handler: Any) -> None:
    """What a child's end does; signals can be set in the main thread alone, and torch sets this one nowhere else."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGCHLD, signal.SIG_DFL if handler is None else handler)


def ended(number: int, worker: Any) -> str:
    """How a worker process ended, in words."""
    code = worker.exitcode
    how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
    return f"worker {number} (process {worker.pid}) {how}"


def _leave_signals_to_training(worker: int) -> None:
    """Ctrl-C reaches every process of a terminal; a worker that died of it would look like a fault."""
    del worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # which torch sends to one that hangs


def _as_it_is(batch: Any) -> Any:
    return batch
