"""A published IP-Adapter beside a converted checkpoint: `build --init-from RUN --init-from FILE`, and diffusers' pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cdkit.cli.app import cdkit
from cdkit.diffusion.random import generator
from cdkit.engine.birth import give_birth
from cdkit.errors import CheckpointError
from cdkit.spec import read_spec
from click.testing import CliRunner
from PIL import Image
from safetensors.torch import save_file

diffusers = pytest.importorskip("diffusers")

PROMPT, SEED, STEPS = "a cat on a mat", 7, 5
WIDTH, EMBEDDING, TOKENS = 32, 24, 4
SPEC = """
cdkit: 1
extends: spec.yaml
name: ip
conditions:
  image: {use: image, model: here:image_encoder, width: 32}
injectors:
  - {use: decoupled, name: cross_attention, streams: [text, image], heads: 8, padding: attend}
"""


@pytest.fixture(scope="module")
def tower() -> Any:
    """CLIP's vision half, tiny."""
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    torch.manual_seed(1)
    config = CLIPVisionConfig(
        hidden_size=32,
        intermediate_size=37,
        num_hidden_layers=2,
        num_attention_heads=1,
        image_size=224,
        patch_size=56,
        projection_dim=EMBEDDING,
    )
    return CLIPVisionModelWithProjection(config).eval()


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tensors by the published names, for the tiny U-Net: six places where words are heard."""
    draws = torch.Generator().manual_seed(2)
    channels = {1: 32, 3: 32, 5: 32, 7: 32, 9: 32, 11: 64}  # down, up, and the middle last
    tensors = {
        f"ip_adapter.{number}.to_{which}_ip.weight": torch.randn(width, WIDTH, generator=draws) / WIDTH**0.5
        for number, width in channels.items()
        for which in "kv"
    }
    tensors["image_proj.proj.weight"] = torch.randn(TOKENS * WIDTH, EMBEDDING, generator=draws) / EMBEDDING**0.5
    tensors["image_proj.proj.bias"] = 0.1 * torch.randn(TOKENS * WIDTH, generator=draws)
    tensors["image_proj.norm.weight"] = 1 + 0.1 * torch.randn(WIDTH, generator=draws)
    tensors["image_proj.norm.bias"] = 0.1 * torch.randn(WIDTH, generator=draws)
    file = tmp_path_factory.mktemp("adapter") / "ip-adapter_tiny.safetensors"
    save_file(tensors, file)
    return file


@pytest.fixture(scope="module")
def spec(sd1: Path, tower: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint as a run, with the image's encoder and a spec that is told a picture too beside it."""
    run = tmp_path_factory.mktemp("runs") / "sd15"
    assert CliRunner().invoke(cdkit, ["convert", str(sd1), str(run)], catch_exceptions=False).exit_code == 0
    tower.save_pretrained(run / "image_encoder")
    (run / "ip.yaml").write_text(SPEC)
    return run / "ip.yaml"


def photograph(path: Path, seed: int = 0) -> Path:
    pixels = np.random.default_rng(seed).integers(0, 255, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).resize((256, 224), Image.Resampling.BICUBIC).save(path)
    return path


def theirs(sd1: Path, tower: Any, adapter: Path, picture: Path) -> np.ndarray:
    from transformers import CLIPImageProcessor

    pipeline = diffusers.StableDiffusionPipeline.from_pretrained(
        sd1, image_encoder=tower, feature_extractor=CLIPImageProcessor(), local_files_only=True
    )
    pipeline.set_progress_bar_config(disable=True)
    pipeline.load_ip_adapter(str(adapter.parent), subfolder="", weight_name=adapter.name, image_encoder_folder=None)
    noise = torch.randn(4, 8, 8, generator=generator(SEED, "picture")).unsqueeze(0)
    with Image.open(picture) as shown:
        return (
            255
            * pipeline(
                PROMPT, ip_adapter_image=shown.convert("RGB"), latents=noise, num_inference_steps=STEPS, output_type="np"
            ).images[0]
        )


def ours(run: Path, out: Path, picture: Path) -> np.ndarray:
    words = ["sample", str(run), "--prompt", PROMPT, "--give", f"image={picture}", "--seed", str(SEED)]
    done = CliRunner().invoke(cdkit, [*words, "--steps", str(STEPS), "--out", str(out)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    drawn = next(path for path in sorted(out.glob("*.png")) if path.name != "grid.png")
    return np.asarray(Image.open(drawn).convert("RGB"), dtype=np.float64)


def test_the_same_picture_as_their_pipeline(sd1: Path, spec: Path, tower: Any, adapter: Path, tmp_path: Path) -> None:
    words = ["build", str(spec), "--out", str(tmp_path / "ip"), "--init-from", str(spec.parent), "--init-from", str(adapter)]
    done = CliRunner().invoke(cdkit, words, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "304 tensors taken" in done.output
    assert "16 tensors, all of them taken" in done.output
    shown, other = photograph(tmp_path / "one.png"), photograph(tmp_path / "other.png", seed=1)
    picture = theirs(sd1, tower, adapter, shown)
    assert picture.std() > 10
    assert np.abs(ours(tmp_path / "ip", tmp_path / "out", shown) - picture).max() <= 2
    assert np.abs(ours(tmp_path / "ip", tmp_path / "out2", other) - picture).max() > 2, "the picture is heard"


def test_a_file_of_another_model_is_refused(spec: Path, adapter: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    tensors = load_file(adapter)
    save_file({**tensors, "ip_adapter.13.to_k_ip.weight": torch.zeros(32, 32)}, tmp_path / "more.safetensors")
    with pytest.raises(CheckpointError, match=r"1 of 17 tensors belong to no part of ip: ip_adapter\.13\.to_k_ip\.weight"):
        give_birth(read_spec(spec), tmp_path / "run", init_from=[str(tmp_path / "more.safetensors")], say=lambda _: None)
    save_file({**tensors, "ip_adapter.11.to_k_ip.weight": torch.zeros(32, 32)}, tmp_path / "wide.safetensors")
    with pytest.raises(CheckpointError, match=r"ip_adapter\.11\.to_k_ip\.weight is \(32, 32\), expected \(64, 32\)"):
        give_birth(read_spec(spec), tmp_path / "run2", init_from=[str(tmp_path / "wide.safetensors")], say=lambda _: None)


def test_a_model_that_hears_no_picture_has_no_place_for_it(spec: Path, adapter: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="16 of 16 tensors belong to no part of") as caught:
        give_birth(read_spec(spec.parent / "spec.yaml"), tmp_path / "run", init_from=[str(adapter)], say=lambda _: None)
    assert "`decoupled` injector and an `image` encoder" in caught.value.hint


def test_init_from_wants_to_know_where(spec: Path, adapter: Path) -> None:
    done = CliRunner().invoke(cdkit, ["build", str(spec), "--init-from", str(adapter)])
    assert done.exit_code == 2
    assert "add --out RUN" in done.output
