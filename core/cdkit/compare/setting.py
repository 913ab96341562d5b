"""Setting: how whoever does a comparison's jobs computes, so that it does not matter who does them."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from cdkit.engine.device import be_deterministic, pick_device


@dataclass(frozen=True, slots=True)
class Setting:
    """threads: of each process. With `deterministic` it is one, for a sum is rounded otherwise by two threads than by one."""

    deterministic: bool
    threads: int

    @classmethod
    def shared(cls, jobs: int) -> Setting:
        """That of this process, its threads divided among so many."""
        deterministic = torch.are_deterministic_algorithms_enabled()
        return cls(deterministic, 1 if deterministic else max(1, torch.get_num_threads() // jobs))

    def take(self) -> None:
        """For the rest of this process's life."""
        torch.set_num_threads(self.threads)
        if self.deterministic:
            be_deterministic()

    @contextmanager
    def taken(self) -> Generator[None]:
        """While it lasts."""
        before = torch.get_num_threads()
        self.take()
        try:
            yield
        finally:
            torch.set_num_threads(before)


def machine(device: str | None, crew: str = "") -> str:
    """What ran it, and how many at once, for whoever reads its seconds."""
    chosen = pick_device(device)
    name = torch.cuda.get_device_name(chosen) if chosen.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    return f"{name}, {crew}" if crew else name
