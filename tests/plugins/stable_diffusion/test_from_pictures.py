"""Picture to picture and inpainting, beside diffusers' own pipelines on the same tiny checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cdkit
import numpy as np
import pytest
import torch
from cdkit.cli.app import cdkit as program
from cdkit.diffusion.random import generator
from cdkit.engine.photographs import read_mask, read_photograph
from cdkit.errors import DataError, UsageError
from cdkit.model.start import Start
from click.testing import CliRunner
from PIL import Image
from torch import Tensor

diffusers = pytest.importorskip("diffusers")

PROMPT, NEGATIVE, SEED, STEPS, SIDE = "a cat", "dog", 3, 8, 16


@pytest.fixture
def scene(tmp_path: Path) -> tuple[Path, Path]:
    """A picture with edges and colours, and a mask whose left half is to be drawn anew."""
    rows, columns = np.mgrid[0:SIDE, 0:SIDE]
    colours = np.stack([16 * rows, 16 * columns, 255 * ((rows // 4 + columns // 4) % 2)], axis=-1).astype(np.uint8)
    Image.fromarray(colours).save(tmp_path / "scene.png")
    Image.fromarray(np.where(columns < SIDE // 2, 255, 0).astype(np.uint8)).save(tmp_path / "mask.png")
    return tmp_path / "scene.png", tmp_path / "mask.png"


def noise() -> Tensor:
    return torch.randn(4, SIDE // 2, SIDE // 2, generator=generator(SEED, "picture")).unsqueeze(0)


def drawn(folder: Path, scene: Path, mask: Path | None = None, **how: Any) -> np.ndarray:
    start = Start(read_photograph(scene), mask=None if mask is None else read_mask(mask), **how)
    samples = cdkit.load(folder, device="cpu").sample(PROMPT, negative=NEGATIVE, seed=SEED, steps=STEPS, start=start)
    return 127.5 * (samples.images[0].permute(1, 2, 0).numpy() + 1)


def pipeline_of(kind: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """diffusers' pipeline, made to take the encoder's mean and our noise where it would draw its own."""
    made = getattr(diffusers, kind).from_pretrained(folder, local_files_only=True)
    made.set_progress_bar_config(disable=True)
    module = __import__(type(made).__module__, fromlist=["x"])
    monkeypatch.setattr(module, "retrieve_latents", lambda output, *_, **__: output.latent_dist.mode())
    monkeypatch.setattr(module, "randn_tensor", lambda *_, **__: noise())
    return made


@pytest.mark.parametrize("strength", [0.25, 0.5, 1.0])
def test_picture_to_picture(strength: float, sd1: Path, scene: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = pipeline_of("StableDiffusionImg2ImgPipeline", sd1, monkeypatch)
    told = {"prompt": PROMPT, "negative_prompt": NEGATIVE, "num_inference_steps": STEPS, "strength": strength}
    theirs = 255 * pipeline(**told, image=Image.open(scene[0]), output_type="np").images[0]
    assert np.abs(drawn(sd1, scene[0], strength=strength) - theirs).max() <= 2


def test_less_strength_keeps_more(sd1: Path, scene: tuple[Path, Path]) -> None:
    whole = drawn(sd1, scene[0], strength=1.0)
    away = [np.abs(drawn(sd1, scene[0], strength=strength) - whole).mean() for strength in (0.25, 0.75)]
    assert away[0] > away[1] > 0


def test_inpainting_leaves_the_rest_alone(sd1: Path, scene: tuple[Path, Path]) -> None:
    picture = np.asarray(Image.open(scene[0]), dtype=np.float64)
    found = drawn(sd1, *scene)
    assert np.abs(found - picture)[:, SIDE // 2 :].max() < 0.01
    assert np.abs(found - picture)[:, : SIDE // 2].mean() > 5


def test_what_is_kept_is_seen_by_the_network(sd1: Path, scene: tuple[Path, Path], tmp_path: Path) -> None:
    """Another right half makes another left half: the drawn part is fitted to the kept one."""
    flipped = tmp_path / "flipped.png"
    Image.open(scene[0]).transpose(Image.Transpose.FLIP_TOP_BOTTOM).save(flipped)
    one, other = (drawn(sd1, path, scene[1])[:, : SIDE // 2 - 2] for path in (scene[0], flipped))
    assert np.abs(one - other).mean() > 1


def test_nine_channels(
    sd1_of: Callable[..., Path], scene: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An inpainting model is told the mask and what is under it; beside StableDiffusionInpaintPipeline, where it was drawn."""
    folder = sd1_of(tmp_path / "nine", in_channels=9)
    pipeline = pipeline_of("StableDiffusionInpaintPipeline", folder, monkeypatch)
    told = {"prompt": PROMPT, "negative_prompt": NEGATIVE, "num_inference_steps": STEPS, "strength": 1.0}
    pictures = {"image": Image.open(scene[0]), "mask_image": Image.open(scene[1]), "height": SIDE, "width": SIDE}
    theirs = 255 * pipeline(**told, **pictures, latents=noise(), output_type="np").images[0]
    assert np.abs(drawn(folder, *scene) - theirs)[:, : SIDE // 2].max() <= 2
    model = cdkit.load(folder, device="cpu")
    assert model.backbone.state_dict()["input_site.taps.concat.kernel.weight"].shape == (32, 5, 3, 3)


def test_the_command_line(sd1: Path, scene: tuple[Path, Path], tmp_path: Path) -> None:
    words = ["sample", str(sd1), "-p", PROMPT, "--negative-prompt", NEGATIVE, "--seed", str(SEED), "--steps", str(STEPS)]
    more = ["--image", str(scene[0]), "--strength", "0.5", "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(program, [*words, *more], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    with Image.open(tmp_path / "out" / "0000-a-cat.png") as picture:
        assert np.abs(np.asarray(picture, dtype=np.float64) - drawn(sd1, scene[0], strength=0.5)).max() <= 1
        assert '"strength": 0.5' in picture.info["cdkit"]


def test_another_size(sd1: Path, tmp_path: Path) -> None:
    words = ["sample", str(sd1), "-p", PROMPT, "--steps", "2", "--height", "32", "--width", "24", "--out", str(tmp_path / "out")]
    assert CliRunner().invoke(program, words, catch_exceptions=False).exit_code == 0
    with Image.open(tmp_path / "out" / "0000-a-cat.png") as picture:
        assert picture.size == (24, 32)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"strength": 0.0}, r"strength 0; expected a number above 0 and at most 1"),
        ({"strength": 1.5}, r"strength 1\.5"),
        ({"strength": 0.01}, r"strength 0\.01 of 8 steps is no step"),
    ],
)
def test_strength_has_bounds(how: dict[str, float], message: str, sd1: Path, scene: tuple[Path, Path]) -> None:
    with pytest.raises(UsageError, match=message):
        drawn(sd1, scene[0], **how)


def test_what_cannot_be_set_out_from(sd1: Path, scene: tuple[Path, Path], tmp_path: Path) -> None:
    Image.new("RGB", (10, 16)).save(tmp_path / "narrow.png")
    with pytest.raises(UsageError, match=r"the picture is 16 x 10 with 3 channels; this model draws 16 x 16 with 3"):
        drawn(sd1, tmp_path / "narrow.png")
    with pytest.raises(UsageError, match=r"the mask is 16 x 16 and the picture 16 x 10"):
        Start(read_photograph(tmp_path / "narrow.png"), mask=read_mask(scene[1]))
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(DataError, match="is no picture that is read here; expected PNG, JPEG, WEBP, BMP"):
        read_photograph(tmp_path / "text.png")
    for words, message in (
        (["--mask", str(scene[1])], "--mask needs a picture to work on"),
        (["--strength", "0.5"], "--strength needs a picture to work on"),
        (["--height", "33"], "--height 33: is no multiple of 2"),
        (["--give", "hint"], "--give hint: expected COLUMN=VALUE"),
        (["--image", str(tmp_path / "nowhere.png")], "nowhere.png: no such picture"),
    ):
        done = CliRunner().invoke(program, ["sample", str(sd1), "-p", "a cat", "--out", str(tmp_path / "o"), *words])
        assert isinstance(done.exception, UsageError)
        assert message in str(done.exception)


def test_transparent_pictures_lie_over_white(tmp_path: Path) -> None:
    Image.new("RGBA", (4, 4), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    assert bool((read_photograph(tmp_path / "clear.png") == 1).all())
    assert read_photograph(tmp_path / "clear.png", channels=1).shape == (1, 4, 4)
