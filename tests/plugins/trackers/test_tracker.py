"""tracker: what a training logged is read back out of TensorBoard's own files; a package that is missing is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cdkit.engine.train import train
from cdkit.parts import EnvironmentFault
from cdkit.spec import read_spec
from cdkit_trackers.tracker import check_there
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

DIGITS = Path(__file__).parents[3] / "specs" / "digits.yaml"
TINY = (
    "backbone.width=8", "backbone.heads=1", "conditions.text.dim=8", "conditions.text.heads=1", "train.batch=4",
    "train.steps=3", "train.log_every=1", "train.sample_every=0", "callbacks=[{use: tracker, to: tensorboard}]",
)  # fmt: skip


def test_tensorboard_holds_what_the_journal_holds(tmp_path: Path) -> None:
    said: list[str] = []
    run = train(read_spec(DIGITS, overrides=TINY), tmp_path / "run", device="cpu", say=said.append)
    assert not [line for line in said if "set aside" in line]
    (folder,) = {path.parent for path in (run.path / "trackers").rglob("events.*") if path.parent.name == "cdkit"}
    events = EventAccumulator(str(folder)).Reload()
    journal = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    told = {event.step: event.value for event in events.Scalars("loss")}
    assert told == pytest.approx({line["step"]: line["loss"] for line in journal}, rel=1e-6)


def test_a_package_that_is_missing_is_named() -> None:
    with pytest.raises(EnvironmentFault, match="tracker comet_ml needs a package that is not installed") as raised:
        check_there("comet_ml")
    assert raised.value.hint == "pip install comet-ml"
