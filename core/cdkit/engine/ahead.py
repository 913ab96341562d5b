"""Ahead: batches on their way to the device while another is learned, and how long the device waited for one."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch

from cdkit.engine.batches import Batch
from cdkit.engine.reading import Reading
from cdkit.errors import CdkitError


class Ahead(Iterator[Batch]):
    """The batches of a Reading, in its order. What is wrong with one is told when that one is asked for."""

    def __init__(self, reading: Reading, device: torch.device) -> None:
        self._reading, self._device = reading, device
        self._taken: Batch | Exception | None = None
        self._blocked, self._since = 0.0, time.monotonic()

    def look(self) -> None:
        """Take the next batch if a worker has made it. Called when a device has its work, it takes none of its time."""
        if self._taken is None and self._reading.has_come():
            self._taken = self._take()

    def __next__(self) -> Batch:
        began = time.monotonic()
        taken, self._taken = self._taken or self._take(), None
        if not self._at_work():
            self._blocked += time.monotonic() - began
        if isinstance(taken, Exception):
            raise taken
        return taken

    def _take(self) -> Batch | Exception:
        try:
            return sent(next(self._reading), self._device)
        except (StopIteration, CdkitError, RuntimeError, OSError) as error:
            return error

    def _at_work(self) -> bool:
        """Has a GPU still something to do? Then it has not waited."""
        return self._device.type == "cuda" and not torch.cuda.current_stream(self._device).query()

    def waited(self) -> float:
        """The share of the time, at most, that was spent waiting for batches, since this was last asked."""
        now = time.monotonic()
        share = self._blocked / max(now - self._since, 1e-9)
        self._blocked, self._since = 0.0, now
        return share

    def close(self) -> None:
        self._reading.close()


def sent(batch: Batch, device: torch.device) -> Batch:
    """The same batch with its pictures on a GPU, or on the way there: memory that is pinned is copied while others compute."""
    if device.type != "cuda":
        return batch
    pinned: Any = batch.images.pin_memory()
    return replace(batch, images=pinned.to(device, non_blocking=True))
