"""Averages of a length that is chosen later: tracked ones are exact, others right to 0.1 %, and a stopped run loses nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from cdkit.engine.power_ema import PowerEma, averaged_at, exponent, keep_snapshot, profile, shares, snapshot_steps
from cdkit.engine.run import Run
from cdkit.engine.train import train
from cdkit.errors import CheckpointError, UsageError
from cdkit.spec import Spec, SpecErrors
from torch import nn

Tiny = Callable[..., Spec]
LENGTHS = (0.05, 0.1, 0.2)
POWER = ("train.ema_lengths=[0.05, 0.1, 0.2]", "train.steps=16", "train.checkpoint_every=4")


def quiet(line: str) -> None:
    del line


@pytest.mark.parametrize("length", [0.02, 0.05, 0.1, 0.2, 0.28])
def test_a_length_is_the_spread_of_its_weights(length: float) -> None:
    """In the limit of many updates: the standard deviation of the weighed times, over the whole."""
    total = 20_000
    weights = profile(total, exponent(length), total)
    times = (np.arange(total) + 0.5) / total
    mean = float((weights * times).sum())
    assert abs(float(weights.sum()) - 1) < 1e-9
    assert abs(float((weights * (times - mean) ** 2).sum()) ** 0.5 - length) < 1e-3 * length


def test_its_exponents_are_the_papers() -> None:
    assert abs(exponent(0.05) - 16.97) < 0.01
    assert abs(exponent(0.10) - 6.94) < 0.01


def walked(
    steps: int, lengths: tuple[float, ...], folder: Path | None = None, snapshots: int = 16
) -> tuple[PowerEma, np.ndarray]:
    """A weight that wanders, its averages, and every place that it was at."""
    draws = torch.Generator().manual_seed(0)
    module = nn.Linear(6, 1, bias=False)
    nn.init.zeros_(module.weight)
    ema, seen = PowerEma(module, lengths), []
    for step in range(1, steps + 1):
        with torch.no_grad():
            module.weight.add_(torch.randn(module.weight.shape, generator=draws))
        ema.update()
        seen.append(module.weight.detach().double().numpy().copy())
        if folder is not None and step in snapshot_steps(steps, snapshots):
            keep_snapshot(folder, ema)
    return ema, np.stack(seen)


def test_a_tracked_average_is_the_weighed_sum() -> None:
    ema, seen = walked(200, LENGTHS)
    for length in LENGTHS:
        expected = np.tensordot(profile(200, exponent(length), 200), seen, 1)
        assert np.abs(ema.values[length][0].numpy() - expected).max() < 1e-4


@pytest.mark.parametrize("length", LENGTHS)
def test_a_tracked_length_comes_back_exactly(tmp_path: Path, length: float) -> None:
    ema, _ = walked(160, LENGTHS, tmp_path)
    assert torch.allclose(averaged_at(tmp_path, length)["weight"], ema.values[length][0], atol=1e-5)


@pytest.mark.parametrize("length", [0.06, 0.075, 0.09, 0.12, 0.15, 0.18])
@pytest.mark.parametrize("steps", [160, 401, 2000])
def test_any_other_is_right_to_a_thousandth(length: float, steps: int) -> None:
    """Its profile over the updates, which bounds what the weights themselves can be off by."""
    snapshots = [(step, tracked) for step in sorted(snapshot_steps(steps, 16)) for tracked in LENGTHS]
    assert shares(snapshots, length, steps)[1] <= 1e-3


def test_it_is_the_average_that_would_have_been_tracked(tmp_path: Path) -> None:
    walked(400, LENGTHS, tmp_path)
    tracked, seen = walked(400, (0.13,))
    found = averaged_at(tmp_path, 0.13)["weight"]
    error = float((found - tracked.values[0.13][0]).abs().max()) / float(np.abs(seen).max())
    assert error <= 1e-3


def test_what_cannot_be_made_is_refused(tmp_path: Path) -> None:
    walked(160, LENGTHS, tmp_path, snapshots=4)
    with pytest.raises(UsageError, match=r"an average of relative length 0\.28 would be off by") as caught:
        averaged_at(tmp_path, 0.28)
    assert "(0.05, 0.1, 0.2)" in caught.value.hint
    with pytest.raises(CheckpointError, match="keeps no snapshots of averages"):
        averaged_at(tmp_path / "nowhere", 0.1)
    with pytest.raises(ValueError, match=r"a relative length of 0\.3; expected one above 0 and below 0\.289"):
        exponent(0.3)


def test_a_training_keeps_them_and_resumes_bit_equal(tmp_path: Path, tiny: Tiny) -> None:
    whole = train(tiny(*POWER), tmp_path / "whole", say=quiet)
    assert len(list((whole.path / "snapshots").glob("*.safetensors"))) == 16
    cut = train(tiny(*POWER), tmp_path / "cut", say=quiet)
    for path in cut.checkpoints.iterdir():
        if int(path.name.removeprefix("step-")) > 8:
            path.rename(tmp_path / path.name)
    for path in sorted((cut.path / "snapshots").iterdir())[8:]:
        path.unlink()
    train(tiny(*POWER), tmp_path / "cut", say=quiet)
    for one in sorted((whole.path / "snapshots").iterdir()):
        assert one.read_bytes() == (cut.path / "snapshots" / one.name).read_bytes()
    assert manifest(whole) == manifest(cut)
    assert set(averaged_at(whole.path, 0.13)) == set(whole.latest().tensors("ema"))  # pyright: ignore[reportOptionalMemberAccess]


def manifest(run: Run) -> dict[str, str]:
    checkpoint = run.latest()
    assert checkpoint is not None
    return {name: told["sha256"] for name, told in checkpoint.manifest["files"].items()}


def test_a_length_out_of_range_is_told_where_it_stands(tiny: Tiny) -> None:
    with pytest.raises(SpecErrors, match=r"train\.ema_lengths\.0: 0\.5 is out of range"):
        tiny("train.ema_lengths=[0.5]")
