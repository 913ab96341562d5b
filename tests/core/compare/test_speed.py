"""Speed: what counts of several rounds, and what memory is counted where."""

from __future__ import annotations

import time
from typing import Any

import pytest
import torch
from cdkit.compare.held import Held
from cdkit.compare.speed import held, seconds, together


def measured(latency: float, pictures: float) -> dict[str, Any]:
    times = {"1": latency, "16": latency / 4}
    return {"latency": times, "pictures_a_second": pictures}


def test_a_busy_round_does_not_count() -> None:
    rounds = [measured(0.2, 100.0), measured(3.0, 7.0), measured(0.22, 90.0)]
    assert together(rounds) == {"latency": {"1": 0.22, "16": 0.055}, "pictures_a_second": 90.0}


def test_the_first_time_warms_up() -> None:
    waits = iter([0.2, 0.02])
    assert 0.02 <= seconds(lambda: time.sleep(next(waits))) < 0.15


def test_a_cpus_memory_is_the_most_that_was_held_at_once() -> None:
    there = torch.ones(5000)
    with Held() as counter:
        kept = torch.zeros(1000)
        for _ in range(3):
            torch.zeros(500) + 1  # two of 500 at once, both gone afterwards
        kept.view(10, 100)[0].add_(1)  # the same memory
        there.mul_(2)
        there.view(50, 100)
    assert counter.most == 4 * (1000 + 2 * 500)
    assert counter.now == 4 * 1000
    del kept
    assert counter.now == 0


def test_what_waits_for_the_way_back_is_held() -> None:
    """Of ten layers on a batch, the inputs of all are needed again; without a way back, two at a time are there."""
    layers = torch.nn.Sequential(*(torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Tanh()) for _ in range(10)))
    x = torch.zeros(1000, 4)
    with Held() as learning:
        layers(x).sum().backward()
    with Held() as drawing, torch.no_grad():
        layers(x)
    assert 10 * x.nbytes <= learning.most
    assert drawing.most <= 3 * x.nbytes


def test_what_work_held() -> None:
    assert held(lambda: torch.zeros(10).add(1), torch.device("cpu")) == 80


@pytest.mark.skipif(not torch.cuda.is_available(), reason="a GPU's memory")
def test_a_gpus_memory_is_the_most_beyond_what_was_there() -> None:
    device = torch.device("cuda")
    there = torch.zeros(2**20, device=device)

    def work() -> None:
        for _ in range(2):
            torch.zeros(2**18, device=device)

    assert held(work, device) == 4 * 2**18
    assert there.numel()
