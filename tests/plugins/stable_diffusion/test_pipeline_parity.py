"""`cdkit sample FOLDER` draws what diffusers' own pipeline draws from that folder, and so does what we export."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cdkit.cli.app import cdkit
from cdkit.diffusion.random import generator
from click.testing import CliRunner
from PIL import Image

diffusers = pytest.importorskip("diffusers")

PROMPT, NEGATIVE, SEED, STEPS = "a cat on a mat", "dog", 7, 5


def theirs(folder: Path, side: int = 8, **how: Any) -> np.ndarray:
    """The picture of diffusers' pipeline, from the noise that our seed means."""
    pipeline = diffusers.StableDiffusionPipeline.from_pretrained(folder, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    noise = torch.randn(4, side, side, generator=generator(SEED, "picture")).unsqueeze(0)
    told = {"prompt": PROMPT, "negative_prompt": NEGATIVE, "num_inference_steps": STEPS, "guidance_scale": 7.5, **how}
    return 255 * pipeline(**told, latents=noise, output_type="np").images[0]


def ours(source: Path, out: Path, *more: str) -> np.ndarray:
    """The picture of the command line, as it lies on disk."""
    words = ["sample", str(source), "--prompt", PROMPT, "--negative-prompt", NEGATIVE, "--seed", str(SEED)]
    done = CliRunner().invoke(cdkit, [*words, "--steps", str(STEPS), "--out", str(out), *more], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    picture = next(path for path in sorted(out.glob("*.png")) if path.name != "grid.png")
    return np.asarray(Image.open(picture).convert("RGB"), dtype=np.float64)


def test_the_same_picture_from_the_same_folder(sd1: Path, tmp_path: Path) -> None:
    picture = theirs(sd1)
    assert picture.std() > 10, "a picture without contrast would agree with anything"
    assert np.abs(ours(sd1, tmp_path / "out") - picture).max() <= 2


@pytest.mark.parametrize(("option", "value"), [("--negative-prompt", "cow"), ("--guidance", "2"), ("--prompt", "a dog")])
def test_the_comparison_would_notice(option: str, value: str, sd1: Path, tmp_path: Path) -> None:
    picture = theirs(sd1)
    words = ["sample", str(sd1), "--seed", str(SEED), "--steps", str(STEPS), "--out", str(tmp_path / "out")]
    told = {"--prompt": PROMPT, "--negative-prompt": NEGATIVE, option: value}
    done = CliRunner().invoke(cdkit, [*words, *(word for pair in told.items() for word in pair)], catch_exceptions=False)
    assert done.exit_code == 0
    drawn = next(path for path in sorted((tmp_path / "out").glob("*.png")) if path.name != "grid.png")
    assert np.abs(np.asarray(Image.open(drawn).convert("RGB"), dtype=np.float64) - picture).max() > 2


def test_our_export_draws_the_same_in_their_pipeline(sd1: Path, tmp_path: Path) -> None:
    runner = CliRunner()
    for source, target in ((sd1, "run"), (tmp_path / "run", "one.safetensors"), (tmp_path / "run", "back")):
        done = runner.invoke(cdkit, ["convert", str(source), str(tmp_path / target)], catch_exceptions=False)
        assert done.exit_code == 0, done.output
    assert np.abs(theirs(tmp_path / "back") - theirs(sd1)).max() <= 1e-3
    assert np.abs(ours(tmp_path / "run", tmp_path / "out") - theirs(sd1)).max() <= 2


SIXTEEN = {"height": 16, "width": 16, "original_size": (16, 16), "target_size": (16, 16)}


def of_sdxl(folder: Path, negative: str | None, **how: Any) -> np.ndarray:
    pipeline = diffusers.StableDiffusionXLPipeline.from_pretrained(folder, local_files_only=True, add_watermarker=False)
    pipeline.set_progress_bar_config(disable=True)
    noise = torch.randn(4, 8, 8, generator=generator(SEED, "picture")).unsqueeze(0)
    told = {"prompt": PROMPT, "negative_prompt": negative, "num_inference_steps": STEPS, "guidance_scale": 5.0, **SIXTEEN, **how}
    return 255 * pipeline(**told, latents=noise, output_type="np").images[0]


def ours_sdxl(source: Path, out: Path, negative: str | None, *more: str) -> np.ndarray:
    words = ["sample", str(source), "--prompt", PROMPT, "--seed", str(SEED), "--steps", str(STEPS), "--guidance", "5"]
    words += ["--negative-prompt", negative] if negative is not None else []
    words += ["--out", str(out), *(more or ("--give", "sizes=16 16 0 0 16 16"))]
    done = CliRunner().invoke(cdkit, words, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    picture = next(path for path in sorted(out.glob("*.png")) if path.name != "grid.png")
    return np.asarray(Image.open(picture).convert("RGB"), dtype=np.float64)


@pytest.mark.parametrize("negative", [None, "", NEGATIVE])
def test_sdxl_draws_the_same(sdxl: Path, tmp_path: Path, negative: str | None) -> None:
    picture = of_sdxl(sdxl, negative)
    assert picture.std() > 10
    assert np.abs(ours_sdxl(sdxl, tmp_path / "out", negative) - picture).max() <= 2


def test_sdxl_s_silence_and_sizes_are_heard(sdxl: Path) -> None:
    silent, empty = of_sdxl(sdxl, None), of_sdxl(sdxl, "")
    assert np.abs(silent - empty).max() > 2, "zeros are not the empty prompt"
    assert np.abs(silent - of_sdxl(sdxl, None, original_size=(900, 16))).max() > 2


@pytest.mark.long
def test_sdxl_goes_round(sdxl: Path, tmp_path: Path) -> None:
    """Folder, run, one file, run, folder: their pipeline draws the same from the last as from the first."""
    runner = CliRunner()
    steps: list[tuple[Path, str, list[str]]] = [
        (sdxl, "run", []),
        (tmp_path / "run", "back", []),
        (tmp_path / "run", "one.safetensors", []),
        (tmp_path / "one.safetensors", "again", ["--tokenizer", str(sdxl / "tokenizer")]),
        (tmp_path / "again", "last", []),
    ]
    for source, target, more in steps:
        done = runner.invoke(cdkit, ["convert", str(source), str(tmp_path / target), *more], catch_exceptions=False)
        assert done.exit_code == 0, done.output
    picture = of_sdxl(sdxl, None)
    assert np.abs(of_sdxl(tmp_path / "back", None) - picture).max() <= 1e-3
    assert np.abs(ours_sdxl(tmp_path / "run", tmp_path / "out", None) - picture).max() <= 2
    for untold in ("model_index.json", "scheduler/scheduler_config.json", "vae/config.json"):
        # By which sampler, and by how much latents are scaled, no single file says: SDXL's own figures are taken.
        (tmp_path / "last" / untold).write_bytes((sdxl / untold).read_bytes())
    assert np.abs(of_sdxl(tmp_path / "last", None) - picture).max() <= 1e-3
    for name in ("unet", "vae", "text_encoder", "text_encoder_2"):
        one, other = tensors_in(sdxl / name), tensors_in(tmp_path / "last" / name)
        assert one.keys() == other.keys()
        assert all(torch.equal(one[key], other[key]) for key in one)


def tensors_in(folder: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    tensors = load_file(next(folder.glob("*.safetensors")))
    return {name.removeprefix("text_model."): tensor for name, tensor in tensors.items()}  # newer transformers leave it out


SCHEDULERS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "euler": lambda told: diffusers.EulerDiscreteScheduler(**told),
    "dpmpp_2m": lambda told: diffusers.DPMSolverMultistepScheduler(
        **{**told, "timestep_spacing": "trailing"}, final_sigmas_type="zero"
    ),
    "published": lambda told: diffusers.PNDMScheduler(**told, skip_prk_steps=True, set_alpha_to_one=False),
    "published 2": lambda told: diffusers.DDIMScheduler(
        **told, clip_sample=False, set_alpha_to_one=False, prediction_type="v_prediction"
    ),
    "euler to sigma_min": lambda told: diffusers.EulerDiscreteScheduler(**told, final_sigmas_type="sigma_min"),
    "v": lambda told: diffusers.DDIMScheduler(**told, clip_sample=False, prediction_type="v_prediction"),
    "clipped": lambda told: diffusers.DDIMScheduler(**told, clip_sample=True, clip_sample_range=1.0),
}


@pytest.mark.parametrize("name", SCHEDULERS)
def test_schedulers_are_read_out_of_the_folder(name: str, sd1_of: Callable[..., Path], tmp_path: Path) -> None:
    told = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}
    folder = sd1_of(tmp_path / f"tiny-{name.replace(' ', '-')}", SCHEDULERS[name]({**told, "timestep_spacing": "leading"}))
    assert np.abs(ours(folder, tmp_path / "out") - theirs(folder)).max() <= 2
