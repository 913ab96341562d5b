"""What a training says while it goes on: loss, speed and time left; and what it writes down, for people and for TensorBoard."""

from __future__ import annotations

import io
import json
import sys
from itertools import count
from pathlib import Path

import pytest
from cdkit.engine.journal import Journal
from cdkit.engine.progress import progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that goes a second at each look."""
    clock = count(100.0)
    monkeypatch.setattr("time.monotonic", lambda: next(clock))


@pytest.mark.usefixtures("seconds")
def test_lines_tell_step_loss_speed_and_what_is_left(capsys: pytest.CaptureFixture[str]) -> None:
    with progress(4000, 100) as report:
        for step in range(101, 113):
            report(step, *((float("nan"),) if step < 110 else (0.25, 0.021)))
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["step 105/4000  1.0 it/s  ETA 1:04:55", "step 110/4000  loss 0.2500  1.0 it/s  waited 2.1 %  ETA 1:04:50"]


def test_a_bar_tells_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    with progress(10, 0) as report:
        for step in range(1, 11):
            report(step, 0.5, 0.25)
    said = sys.stderr.getvalue()
    assert "10/10" in said
    assert "loss 0.5000" in said
    assert "it/s  waited 25.0 %" in said
    assert "0:00:00" in said  # left


def test_no_step_is_written_down_twice(tmp_path: Path) -> None:
    """A run that was killed after step 3 goes on from its checkpoint of step 2."""
    for start, steps, loss in ((0, (1, 2, 3), 1.0), (2, (3, 4), 0.5)):
        journal = Journal(tmp_path, start)
        for step in steps:
            journal.write(step, {"loss": loss / step, "lr": 0.1})
        journal.close()
    expected = [(1, 1.0), (2, 0.5), (3, 0.5 / 3), (4, 0.125)]
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [(line["step"], line["loss"]) for line in lines] == expected
    assert [(step, pytest.approx(value)) for step, value in board(tmp_path, "loss")] == expected


def board(run: Path, name: str) -> list[tuple[int, float]]:
    """What TensorBoard shows of a scalar: (step, value)."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    return [(event.step, event.value) for event in events.Scalars(name)]
