"""Training: the same run however often it is stopped, nothing spoilt by numbers that went wrong, every silence counted."""

from __future__ import annotations

import hashlib
import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from cdkit.conditions import Count
from cdkit.engine.batches import Batches
from cdkit.engine.ema import Ema
from cdkit.engine.evaluate import make_dataset
from cdkit.engine.load import load
from cdkit.engine.optimizer import learning_rate
from cdkit.engine.pack import pack
from cdkit.engine.reading import Reading
from cdkit.engine.run import Run
from cdkit.engine.train import train
from cdkit.errors import EnvironmentFault, NumericsError, SpecError, UsageError
from cdkit.spec import Spec, TrainSection
from torch import nn

Tiny = Callable[..., Spec]


def quiet(line: str) -> None:
    del line


def fingerprint(run: Run) -> dict[str, str]:
    """sha256 of everything that a checkpoint holds, and of the losses."""
    checkpoint = run.latest()
    assert checkpoint is not None
    files = {name: described["sha256"] for name, described in checkpoint.manifest["files"].items()}
    lines = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    told = [(line["step"], line["loss"], line["grad_norm"]) for line in lines]
    return {**files, "losses": hashlib.sha256(repr(told).encode()).hexdigest()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, tiny: Tiny) -> dict[str, str]:
    """The fingerprint of a run that nothing interrupted."""
    return fingerprint(train(tiny(), tmp_path_factory.mktemp("whole") / "run", say=quiet))


@pytest.mark.slow
@pytest.mark.parametrize("stop", range(1, 8))
def test_a_run_stopped_at_any_step_ends_bit_equal(tmp_path: Path, tiny: Tiny, whole: dict[str, str], stop: int) -> None:
    run = train(tiny(), tmp_path / "run", say=quiet)
    for path in run.checkpoints.iterdir():
        if int(path.name.removeprefix("step-")) > stop:
            path.rename(tmp_path / path.name)
    assert run.latest().step == stop  # pyright: ignore[reportOptionalMemberAccess]
    said: list[str] = []
    assert fingerprint(train(tiny(), tmp_path / "run", say=said.append)) == whole
    assert f"going on at step {stop} of 8" in said[0]


def test_workers_change_nothing(tmp_path: Path, tiny: Tiny, whole: dict[str, str]) -> None:
    spec = tiny("train.workers=2")
    assert fingerprint(train(spec, tmp_path / "run", say=quiet)) == whole


def test_batches_are_functions_of_the_step(tiny: Tiny) -> None:
    dataset = make_dataset(tiny())
    batches = Batches(dataset, ("text",), batch=4, seed=0)
    ahead = list(Reading(batches, start=3, stop=6, workers=0, patience=30))
    assert [batch.ids for batch in ahead] == [batches[step].ids for step in (3, 4, 5)]
    assert Batches(dataset, ("text",), batch=4, seed=1)[3].ids != ahead[0].ids


def test_an_epoch_sees_every_picture_once(tiny: Tiny) -> None:
    batches = Batches(make_dataset(tiny()), (), batch=5, seed=0)
    n = len(batches.examples)
    seen = [identity for step in range(n // 5) for identity in batches[step].ids]
    assert len(set(seen)) == len(seen)
    assert set(seen) <= {example.id for example in batches.examples}


def test_silences_are_counted_and_as_often_as_the_spec_says(tmp_path: Path, tiny: Tiny) -> None:
    run = train(tiny("train.batch=64", "conditions.text.dropout=0.25"), tmp_path / "run", say=quiet)
    count = load(run.path).ledger.counts["text"]
    assert isinstance(count, Count)
    assert count.told + count.silent == 8 * 64
    deviation = math.sqrt(512 * 0.25 * 0.75)
    assert abs(count.silent - 128) < 4.5 * deviation


def test_guidance_on_a_condition_that_was_never_silent_is_refused(tmp_path: Path, tiny: Tiny) -> None:
    model = load(train(tiny("conditions.text.dropout=0.0"), tmp_path / "run", say=quiet).path)
    with pytest.raises(UsageError, match="was never trained with condition 'text' silent"):
        model.sample(["seven"], guidance=2.0)
    assert len(model.sample(["seven"], guidance=1.0)) == 1


def test_numbers_that_go_wrong_are_caught_before_the_update(tmp_path: Path, tiny: Tiny) -> None:
    train(tiny("train.steps=2"), tmp_path / "run", say=quiet)
    before = Run(tmp_path / "run").latest()
    with pytest.raises(NumericsError, match=r"step 3: the loss is .* nothing was updated"):
        train(poisoned(tiny("train.steps=8")), tmp_path / "run", override=True, say=quiet)
    after = Run(tmp_path / "run").latest()
    assert before is not None
    assert after is not None
    assert after.manifest["files"] == before.manifest["files"]


def poisoned(spec: Spec) -> Spec:
    """The same spec on pictures of which one pixel is no number."""
    from dataclasses import replace

    assert spec.data is not None
    real = spec.data.factory()

    class Poisoned(real):
        def augment(self, example, generator):  # pyright: ignore
            del generator
            image = example.image.clone()
            image[0, 0, 0] = math.nan
            return replace(example, image=image)

    registry = spec.registry.extended({("dataset", "poisoned"): Poisoned})
    return replace(spec, data=replace(spec.data, use="poisoned", registry=registry), registry=registry)


def test_another_spec_is_refused_with_the_difference(tmp_path: Path, tiny: Tiny) -> None:
    train(tiny("train.steps=1"), tmp_path / "run", say=quiet)
    with pytest.raises(SpecError, match=r"(?s)made with another spec.*-  batch: 4.*\+  batch: 8"):
        train(tiny("train.steps=1", "train.batch=8"), tmp_path / "run", say=quiet)


def test_two_writers_are_one_too_many(tmp_path: Path, tiny: Tiny) -> None:
    run = Run.create(tmp_path / "run", tiny())
    with run.lock(), pytest.raises(EnvironmentFault, match=f"is being written by process {os.getpid()} on "):
        train(tiny(), tmp_path / "run", say=quiet)


def test_a_new_run_starts_from_an_old_ones_weights(tmp_path: Path, tiny: Tiny) -> None:
    old = train(tiny(), tmp_path / "old", say=quiet)
    said: list[str] = []
    new = train(tiny("train.steps=1", "train.lr=1.0e-12"), tmp_path / "new", init_from=old, say=said.append)
    assert "0 new" in said[0]
    a, b = load(old.path), load(new.path, averaged=False)
    for (name, one), two in zip(a.named_parameters(), b.parameters(), strict=True):
        assert torch.allclose(one, two, atol=1e-9), name


def test_a_packed_run_draws_the_same(tmp_path: Path, tiny: Tiny) -> None:
    run = train(tiny(), tmp_path / "run", say=quiet)
    small = pack(run, tmp_path / "small", licence="ours")
    assert (small / "LICENSE.md").read_text() == "ours"
    big = load(run.path).sample(["seven"], seed=3).images
    assert torch.allclose(load(small).sample(["seven"], seed=3).images, big, atol=2e-2)
    with pytest.raises(UsageError, match="is there already"):
        pack(run, tmp_path / "small", licence="ours")


def test_a_run_is_read_with_its_average_unless_the_raw_weights_are_asked_for(tmp_path: Path, tiny: Tiny) -> None:
    run = train(tiny("train.steps=2"), tmp_path / "run", say=quiet)
    checkpoint = run.latest()
    assert checkpoint is not None
    average = {name.removeprefix("backbone."): value for name, value in checkpoint.tensors("ema").items() if "backbone." in name}
    raw = checkpoint.tensors("backbone")
    assert any(not torch.equal(average[name], raw[name]) for name in average)
    for averaged, expected in ((True, average), (False, raw)):
        found = load(run.path, averaged=averaged).backbone.state_dict()
        assert all(torch.equal(found[name], expected[name]) for name in average)


def test_the_average_follows_its_closed_form() -> None:
    """Constant weights p and decay d: e_n = p + (e_0 - p) times the product of the decays so far."""
    module = nn.Linear(1, 1, bias=False)
    nn.init.constant_(module.weight, 0.0)
    ema = Ema(module, 0.9)
    nn.init.constant_(module.weight, 1.0)
    left = 1.0
    for n in range(200):
        ema.update()
        left *= min(0.9, (1 + n) / (10 + n))
    assert ema.values[0].item() == pytest.approx(1 - left, abs=1e-6)


def test_swapping_twice_is_nothing() -> None:
    module = nn.Linear(2, 2)
    ema = Ema(module, 0.5)
    before = [parameter.clone() for parameter in module.parameters()]
    with torch.no_grad():
        module.weight += 1
    with ema:
        assert all(torch.equal(a, b) for a, b in zip(before, module.parameters(), strict=True))
    assert torch.equal(module.weight, before[0] + 1)


def test_the_learning_rate_warms_up_and_falls() -> None:
    options = TrainSection(steps=100, warmup=10, lr=1.0, decay="cosine")
    rates = [learning_rate(options, step) for step in range(101)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9] == rates[10] == pytest.approx(1.0)
    assert rates[55] == pytest.approx(0.01 + 0.99 * 0.5)
    assert rates[100] == pytest.approx(0.01)
    assert all(a >= b for a, b in pairwise(rates[10:]))


@pytest.mark.long
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_and_exits(tmp_path: Path, tiny: Tiny, number: int, code: int) -> None:
    """In a real process: it stops within a step, saved, and says how to go on."""
    path = tmp_path / "spec.yaml"
    path.write_text(tiny("train.steps=100000", "train.checkpoint_every=100000").to_yaml())
    out = tmp_path / "run"
    program = "from cdkit.cli.app import main; main()"
    child = subprocess.Popen(
        [sys.executable, "-c", program, "train", str(path), "--out", str(out)], stderr=subprocess.PIPE, stdout=subprocess.PIPE
    )
    metrics = out / "metrics.jsonl"
    deadline = time.monotonic() + 90
    while not (metrics.is_file() and metrics.read_text().count("\n") > 2):
        assert time.monotonic() < deadline, "the child never trained a step"
        assert child.poll() is None, child.communicate()
        time.sleep(0.1)
    child.send_signal(number)
    _, said = child.communicate(timeout=60)
    assert child.returncode == code
    assert "to go on: the same command again" in said.decode()
    checkpoint = Run(out).latest()
    assert checkpoint is not None
    assert checkpoint.step == len(metrics.read_text().splitlines())


@pytest.mark.slow
def test_killed_at_any_moment_the_run_can_be_read(tmp_path: Path, tiny: Tiny) -> None:
    """kill -9 while it saves after every step: the latest checkpoint verifies, and the run goes on from it."""
    path = tmp_path / "spec.yaml"
    path.write_text(tiny("train.steps=100000", "train.keep=2").to_yaml())
    out = tmp_path / "run"
    for wait in (0.05, 0.21):
        child = subprocess.Popen(
            [sys.executable, "-c", "from cdkit.cli.app import main; main()", "train", str(path), "--out", str(out)],
            stderr=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        last = max((int(p.name[5:]) for p in (out / "checkpoints").glob("step-*")), default=0)
        deadline = time.monotonic() + 90
        while max((int(p.name[5:]) for p in (out / "checkpoints").glob("step-*")), default=0) < last + 3:
            assert time.monotonic() < deadline
            assert child.poll() is None
            time.sleep(0.01)
        time.sleep(wait)
        child.kill()
        child.wait()
        checkpoint = Run(out).latest()
        assert checkpoint is not None
        assert checkpoint.step >= last + 3


def test_a_run_that_starts_from_another_knows_how_often_that_was_silent(tmp_path: Path, tiny: Tiny) -> None:
    base = train(tiny("train.steps=4", "conditions.text.dropout=0.5"), tmp_path / "base", say=quiet)
    before = load(base.path, device="cpu").ledger.counts["text"]
    assert before is not None
    assert before.silent > 0
    run = train(tiny("train.steps=1", "conditions.text.dropout=0"), tmp_path / "run", init_from=base, say=quiet)
    assert load(run.path, device="cpu").ledger.counts["text"] == Count(before.told + 4, before.silent)
    other = (
        "conditions.text={use: label, names: [zero, one, two, three, four, five, six, seven, eight, nine], column: label, dim: 8}"
    )
    change = train(tiny("train.steps=1", other, "conditions.text.dropout=0"), tmp_path / "other", init_from=base, say=quiet)
    assert load(change.path, device="cpu").ledger.counts["text"] == Count(4, 0), "another reader's silence is another silence"


def test_a_process_that_was_forked_does_not_hold_the_lock(tmp_path: Path, tiny: Tiny) -> None:
    """A worker that hangs, of a training that is gone."""
    run = Run.create(tmp_path / "run", tiny())
    with run.lock():
        child = os.fork()
        if child == 0:
            time.sleep(60)
            os._exit(0)
    try:
        with run.lock():
            assert f"process {os.getpid()} on " in (run.path / ".lock").read_text()
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
