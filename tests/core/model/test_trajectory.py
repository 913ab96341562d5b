"""A trajectory is what the sampler held and what the network took it for, step by step; to watch changes nothing."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import torch
from cdkit.build import assemble
from cdkit.errors import UsageError
from cdkit.model import Model
from cdkit.model.trajectory import Trajectory
from cdkit.spec import read_spec
from PIL import Image

DIGITS = Path(__file__).parents[3] / "specs" / "digits.yaml"


@pytest.fixture(scope="module")
def model() -> Model:
    return assemble(
        read_spec(DIGITS, overrides=["backbone.width=16", "conditions.text.dim=16", "sampler.steps=3", "guidance=null"])
    )


@pytest.mark.parametrize("sampler", ["euler", "heun", "dpmpp_2m"])
def test_every_step_is_seen_once_and_nothing_changes(model: Model, sampler: str) -> None:
    trajectory = Trajectory()
    watched = model.sample(["one", "two"], seed=5, sampler=sampler, watch=trajectory)
    assert torch.equal(watched.images, model.sample(["one", "two"], seed=5, sampler=sampler).images)
    assert [moment.index for moment in trajectory.moments] == [0, 1, 2]
    assert all(moment.steps == 3 for moment in trajectory.moments)
    sigmas = [moment.sigma for moment in trajectory.moments]
    assert sigmas == sorted(sigmas, reverse=True)


def test_the_last_thing_taken_for_clean_is_the_picture(model: Model) -> None:
    trajectory = Trajectory()
    drawn = model.sample(["one"], sampler="euler", watch=trajectory)
    assert torch.allclose(trajectory.moments[-1].clean, drawn.images, atol=1e-5)
    assert not torch.allclose(trajectory.moments[0].noisy, drawn.images, atol=1e-2)


def test_it_is_saved_as_an_animation(model: Model, tmp_path: Path) -> None:
    trajectory = Trajectory()
    model.sample(["one", "two", "three"], watch=trajectory, batch=2)  # in two batches, which are seen one after the other
    assert [frame.size for frame in trajectory.frames(scale=1)] == [(16, 24)] * 3
    path = trajectory.save(tmp_path / "here" / "forming.webp")
    with Image.open(path) as found:
        assert (found.format, getattr(found, "n_frames", 1)) == ("WEBP", 3)
    with Image.open(io.BytesIO(trajectory.animation("gif"))) as found:
        assert getattr(found, "n_frames", 1) == 3


def test_what_cannot_be_saved_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"expected a name that ends in \.webp, \.gif, \.png"):
        Trajectory().save(tmp_path / "forming.mp4")
    with pytest.raises(UsageError, match="a trajectory without a step"):
        Trajectory().save(tmp_path / "forming.webp")
