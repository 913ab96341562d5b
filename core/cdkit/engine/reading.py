"""Reading: batches in order, made ahead of time by worker processes; one that fails, dies or hangs is an error that names it."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
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
                # torch seeds its workers from the global state; ours draws nothing from it, and must not move it.
                generator=torch.Generator().manual_seed(derive(batches.seed, "loader")),
            )
        )

    def __next__(self) -> Batch:
        try:
            made: Batch | Failed = next(self._stream)
        except RuntimeError as error:
            raise self.blamed(error) from error
        if isinstance(made, Failed):
            raise made.error
        self.step += 1
        return made

    def blamed(self, error: RuntimeError) -> BaseException:
        """A DataError for what torch says of a worker, which it may say at any moment; any other error as it is."""
        if not str(error).startswith("DataLoader "):
            return error
        waiting = self.batches.described(self.step, SHOWN)
        dead = [said for number, worker in enumerate(self._workers) if (said := ended(number, worker))]
        if dead:
            hint = "a killed worker most often had no memory left: fewer train.workers need less"
            return DataError(f"{' and '.join(dead)}, before {waiting} was there", hint=hint)
        number = self._stream._task_info[self._stream._rcvd_idx][0]
        return DataError(
            f"worker {number} (process {self._workers[number].pid}) has not made {waiting} within {self.patience:g} s",
            hint="if reading is so slow, raise train.worker_timeout; else look at what that process waits for",
        )

    @property
    def _workers(self) -> Sequence[Any]:
        return getattr(self._stream, "_workers", ())


def ended(number: int, worker: Any) -> str:
    """How a worker process ended, in words; "" if it lives."""
    worker.join(0.5)  # torch hears of its death before its exit code can be had
    code = worker.exitcode
    if code is None:
        return ""
    how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
    return f"worker {number} (process {worker.pid}) {how}"


def _as_it_is(batch: Any) -> Any:
    return batch
