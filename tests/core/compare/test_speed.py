"""Speed: what counts of several rounds, and what memory is counted where."""

from __future__ import annotations

import time
from typing import Any

import pytest
import torch
from cdkit.compare.speed import counted, seconds, together


def measured(latency: float, pictures: float, memory: int | None) -> dict[str, Any]:
    times = {"1": latency, "16": latency / 4}
    return {"latency": times, "pictures_a_second": pictures, "training_memory": memory, "sampling_memory": None}


def test_a_busy_round_does_not_count() -> None:
    rounds = [measured(0.2, 100.0, 5), measured(3.0, 7.0, 6), measured(0.22, 90.0, 5)]
    assert together(rounds) == {
        "latency": {"1": 0.22, "16": 0.055},
        "pictures_a_second": 90.0,
        "training_memory": 6,
        "sampling_memory": None,
    }


def test_the_first_time_warms_up() -> None:
    waits = iter([0.2, 0.02])
    assert 0.02 <= seconds(lambda: time.sleep(next(waits))) < 0.15


def test_nobody_counts_a_cpus_memory() -> None:
    with counted(torch.device("cpu")) as memory:
        torch.zeros(1000)
    assert memory() is None


@pytest.mark.skipif(not torch.cuda.is_available(), reason="a GPU's memory")
def test_a_gpus_memory_is_the_most_beyond_what_was_there() -> None:
    device = torch.device("cuda")
    there = torch.zeros(2**20, device=device)
    with counted(device) as memory:
        for _ in range(2):
            torch.zeros(2**18, device=device)
    assert there.numel()
    assert memory() == 4 * 2**18
