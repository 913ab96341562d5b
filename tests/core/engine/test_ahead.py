"""Batches that are taken ahead: in order, their faults told in their turn; and the share of the time that was spent waiting."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from cdkit.engine.ahead import Ahead
from cdkit.engine.batches import Batch, Batches
from cdkit.engine.evaluate import make_dataset
from cdkit.engine.reading import Reading
from cdkit.engine.train import train
from cdkit.errors import DataError
from cdkit.parts import Example
from cdkit.spec import Spec

Tiny = Callable[..., Spec]
CPU = torch.device("cpu")


def quiet(line: str) -> None:
    del line


def batch(step: int) -> Batch:
    return Batch(step, ["a"], torch.zeros(1, 1, 2, 2), {})


class Made(Iterator[Batch]):
    """What stands for a Reading: batches that each take some seconds, of which one may fail."""

    def __init__(self, *, seconds: float = 0.0, fails: int = -1, stop: int = 6) -> None:
        self.seconds, self.fails, self.stop = seconds, fails, stop
        self.step, self.closed = 0, False

    def has_come(self) -> bool:
        return True

    def __next__(self) -> Batch:
        if self.step == self.stop:
            raise StopIteration
        time.sleep(self.seconds)
        self.step += 1
        if self.step - 1 == self.fails:
            raise DataError("a bad picture")
        return batch(self.step - 1)

    def close(self) -> None:
        self.closed = True


def over(made: Made) -> Ahead:
    reading: Any = made
    return Ahead(reading, CPU)


@pytest.mark.parametrize("looks", [0, 1, 2])
def test_the_order_is_the_readings(looks: int) -> None:
    made = Made()
    ahead, found = over(made), list[int]()
    for one in ahead:
        found.append(one.step)
        for _ in range(looks):
            ahead.look()
        assert made.step == min(len(found) + bool(looks), made.stop), "one is taken ahead, and no more"
    assert found == list(range(6))
    ahead.close()
    assert made.closed


def test_a_fault_is_told_when_its_batch_is_asked_for() -> None:
    ahead = over(Made(fails=2))
    for step in range(2):
        assert next(ahead).step == step
        ahead.look()
    with pytest.raises(DataError, match="a bad picture"):
        next(ahead)


def test_what_was_waited_is_a_share_of_the_time() -> None:
    ahead = over(Made(seconds=0.05))
    next(ahead)
    assert ahead.waited() > 0.8
    for _ in range(2):
        time.sleep(0.05)
        next(ahead)
    assert 0.2 < ahead.waited() < 0.7
    ahead.look()  # while a device computes, say
    time.sleep(0.05)
    next(ahead)
    assert ahead.waited() < 0.05


def test_workers_are_asked_for_what_has_come(tiny: Tiny) -> None:
    batches = Batches(make_dataset(tiny()), ("text",), batch=4, seed=0)
    reading = Reading(batches, start=3, stop=9, workers=2, patience=30)
    ahead, taken = Ahead(reading, CPU), 0
    found: list[list[str]] = []
    for one in ahead:
        found.append(one.ids)
        until = time.monotonic() + 20
        while not (there := reading.has_come()) and reading.step < 9 and time.monotonic() < until:
            time.sleep(0.01)
        ahead.look()
        taken += there
    assert found == [batches[step].ids for step in range(3, 9)]
    assert taken == 5, "each but the first"
    assert not reading.has_come()
    ahead.close()
    alone = Reading(batches, start=0, stop=2, workers=0, patience=30)
    assert not alone.has_come()


def logged(run: Path) -> list[float]:
    return [json.loads(line)["waited"] for line in (run / "metrics.jsonl").read_text().splitlines()]


def on_slow_pictures(spec: Spec, seconds: float) -> Spec:
    assert spec.data is not None
    real: Any = spec.data.factory()

    class Slow(real):
        def augment(self, example: Example, generator: torch.Generator) -> Example:
            time.sleep(seconds)
            return super().augment(example, generator)

    registry = spec.registry.extended({("dataset", "slow"): Slow})
    return replace(spec, data=replace(spec.data, use="slow", registry=registry), registry=registry)


def test_a_training_tells_slow_data_from_quick(tmp_path: Path, tiny: Tiny) -> None:
    spec = tiny("train.steps=4", "train.checkpoint_every=100")
    slow = train(on_slow_pictures(spec, 0.5), tmp_path / "slow", say=quiet)  # two seconds a batch
    quick = train(spec, tmp_path / "quick", say=quiet)
    assert min(logged(slow.path)[1:]) > 0.5
    assert max(logged(quick.path)[1:]) < 0.2
