"""docs/stable-diffusion.md from the first command to the last, on a pipeline of the same structure and a million weights."""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cdkit.cli.app import cdkit
from cdkit.model.pixels import to_picture
from cdkit_data.shapes import Shapes
from click.testing import CliRunner
from PIL import Image

pytest.importorskip("diffusers")

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "stable-diffusion.md").read_text(encoding="utf-8")
WRITE = r"[Ww]rite `([\w/.-]+\.yaml)`:\n\n<!-- beside a run -->\n```yaml\n(.*?)^```$"
WRITTEN = re.compile(WRITE + r"|^```console\n(.*?)^```$", re.DOTALL | re.MULTILINE)
SMALLER = {
    "1024 1024 0 0 1024 1024": "16 16 0 0 16 16",
    "--height 576 --width 768": "--height 16 --width 32",
    "size: 512": "size: 16",
    "steps: 2000": "steps: 2",
    "steps: 1000": "steps: 2",
    "step-001000": "step-000002",
    "batch: 8": "batch: 2",
    "here:image_encoder}": "here:image_encoder, width: 32}",
}


@pytest.fixture(scope="module")
def makers() -> Any:
    """The tiny pipelines of the tests of Stable Diffusion."""
    path = ROOT / "tests" / "plugins" / "stable_diffusion" / "conftest.py"
    made = importlib.util.spec_from_file_location("tiny_pipelines", path)
    assert made is not None
    assert made.loader is not None
    module = importlib.util.module_from_spec(made)
    made.loader.exec_module(module)
    return module


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, makers: Any, sdxl_folder: Path) -> Path:
    """A folder with what the page assumes."""
    from diffusers import ControlNetModel, UNet2DConditionModel

    monkeypatch.chdir(tmp_path)
    makers.saved(tmp_path / "stable-diffusion-v1-5")
    shutil.copytree(sdxl_folder, tmp_path / "stable-diffusion-xl-base-1.0")
    controlled = shutil.copytree(tmp_path / "stable-diffusion-v1-5", tmp_path / "stable-diffusion-v1-5-controlnet")
    unet = UNet2DConditionModel.from_pretrained(controlled / "unet")
    hint = (8, 16)  # two rows a latent's row, as this autoencoder has it
    makers.armed(ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=hint)).save_pretrained(
        controlled / "controlnet"
    )
    photographs(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def sdxl_folder(makers: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return makers.sdxl.__wrapped__(tmp_path_factory)


def photographs(desk: Path) -> None:
    """Pictures with captions, and those that the page names."""
    (desk / "photographs").mkdir()
    lines: list[str] = []
    for place, example in enumerate(list(Shapes(size=16, count=60).split("train"))[:30]):
        to_picture(example.image).save(desk / "photographs" / f"{place}.png")
        lines.append(json.dumps({"file_name": f"{place}.png", "text": example.values["text.en"][0]}))
    (desk / "photographs" / "metadata.jsonl").write_text("\n".join(lines))
    shutil.copyfile(desk / "photographs" / "0.png", desk / "house.png")
    mask = np.zeros((16, 16), np.uint8)
    mask[4:12, 4:12] = 255
    for name in ("door.png", "edges.png"):
        Image.fromarray(mask).save(desk / name)


def image_encoder(folder: Path) -> None:
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    small = {"hidden_size": 32, "intermediate_size": 37, "num_hidden_layers": 2, "num_attention_heads": 1, "projection_dim": 24}
    CLIPVisionModelWithProjection(CLIPVisionConfig(**small, image_size=32, patch_size=16)).save_pretrained(folder)


def ip_adapter(file: Path) -> None:
    from safetensors.torch import save_file

    channels = {1: 32, 3: 32, 5: 32, 7: 32, 9: 32, 11: 64}
    tensors = {f"ip_adapter.{n}.to_{which}_ip.weight": torch.randn(wide, 32) for n, wide in channels.items() for which in "kv"}
    norm = {"image_proj.norm.weight": torch.ones(32), "image_proj.norm.bias": torch.zeros(32)}
    proj = {"image_proj.proj.weight": torch.randn(4 * 32, 24), "image_proj.proj.bias": torch.zeros(4 * 32)}
    save_file({**tensors, **norm, **proj}, file)


def lora(file: Path) -> None:
    from safetensors.torch import save_file

    name = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_q"
    save_file({f"{name}.lora_down.weight": torch.randn(2, 32), f"{name}.lora_up.weight": torch.randn(32, 2)}, file)


def steps() -> Iterator[tuple[str, str]]:
    """A file to write and its text, or "" and a command, in the order of the page, in small."""
    for file, text, typed in WRITTEN.findall(PAGE):
        if file:
            yield file, smaller(text)
        yield from (("", smaller(line[2:])) for line in typed.splitlines() if line.startswith("$ "))


def smaller(text: str) -> str:
    for large, small in SMALLER.items():
        text = text.replace(large, small)
    return text


def run(command: str) -> str:
    program, *words = shlex.split(command)
    assert program == "cdkit"
    few = ["--steps", "2"] if words[0] == "sample" and "--steps" not in words else []
    done = CliRunner().invoke(cdkit, [*words, *few], catch_exceptions=False)
    assert done.exit_code == 0, f"{command}\n{done.output}"
    return done.output


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning:safetensors.*")
def test_every_command_of_the_page_runs(desk: Path) -> None:
    lora(desk / "house-style.safetensors")
    ip_adapter(desk / "ip-adapter_sd15.safetensors")
    run("cdkit convert stable-diffusion-v1-5 first")
    run("cdkit convert first v1-5-pruned-emaonly.safetensors")
    ran = 0
    for file, text in steps():
        if file:
            (desk / file).write_text(text)
            continue
        run(text)
        ran += 1
        if text.endswith("runs/sd15"):
            image_encoder(desk / "runs" / "sd15" / "image_encoder")
    assert ran == 20
    assert len(list((desk / "samples").glob("*.png"))) > 10
