"""kl: a tiny folder with random weights, against diffusers' own call; and what is said where something is missing."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from cdkit.errors import DataError, EnvironmentFault
from cdkit_autoencoders.kl import Kl
from safetensors.torch import load_file, save_file
from torch.testing import assert_close

diffusers = pytest.importorskip("diffusers", reason='pip install "cdkit[diffusers]"')
FILE = "diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("vae")
    torch.manual_seed(0)
    diffusers.AutoencoderKL(
        block_out_channels=(8, 16, 16),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        latent_channels=4,
        norm_num_groups=4,
        scaling_factor=0.5,
    ).save_pretrained(path)
    return path


def test_as_diffusers_does_it(folder: Path) -> None:
    direct = diffusers.AutoencoderKL.from_pretrained(folder).eval()
    autoencoder = Kl(model=str(folder))
    pixels = torch.rand(2, 3, 16, 24) * 2 - 1
    assert (autoencoder.factor, autoencoder.channels, autoencoder.scale) == (4, 4, 0.5)
    with torch.no_grad():
        posterior = direct.encode(pixels).latent_dist
        latents = autoencoder.encode(pixels)
        assert_close(latents, posterior.mode() * 0.5)
        assert latents.shape == (2, 4, 4, 6)
        drawn = autoencoder.encode(pixels, torch.Generator().manual_seed(3))
        assert_close(drawn, posterior.sample(torch.Generator().manual_seed(3)) * 0.5)
        assert not torch.allclose(drawn, latents)
        assert_close(autoencoder.decode(latents), direct.decode(latents / 0.5).sample.clamp(-1, 1))


def test_scale_can_be_given(folder: Path) -> None:
    pixels = torch.rand(1, 3, 8, 8)
    assert_close(Kl(model=str(folder), scale=0.25).encode(pixels) * 2, Kl(model=str(folder)).encode(pixels))


def test_old_names_of_attention(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes((folder / "config.json").read_bytes())
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    weights = load_file(folder / FILE)
    for new, name in old.items():
        weights = {key.replace(f".{new}.", f".{name}."): tensor for key, tensor in weights.items()}
    save_file(weights, tmp_path / FILE)
    pixels = torch.rand(1, 3, 8, 8)
    assert_close(Kl(model=str(tmp_path)).encode(pixels), Kl(model=str(folder)).encode(pixels))


def test_it_follows_the_model_and_leaves_no_trace(folder: Path) -> None:
    autoencoder = Kl(model=str(folder))
    autoencoder.decode(torch.zeros(1, 4, 2, 2))
    assert autoencoder.double().decode(torch.zeros(1, 4, 2, 2).double()).dtype == torch.float64
    assert not autoencoder.state_dict()
    assert not list(autoencoder.parameters())


def test_making_it_is_cheap() -> None:
    code = "import sys; from cdkit_autoencoders.kl import Kl; k = Kl(); "
    code += "print(k.factor, k.channels, k.scale, 'diffusers' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.split() == ["8", "4", "0.18215", "False"]


def test_sides_must_be_multiples(folder: Path) -> None:
    with pytest.raises(DataError, match="pictures of 10 x 8: kl needs multiples of 4"):
        Kl(model=str(folder)).encode(torch.zeros(1, 3, 10, 8))


def test_diffusers_is_missing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "diffusers.models.autoencoders.autoencoder_kl", None)
    with pytest.raises(EnvironmentFault, match="kl needs diffusers, which is not installed") as caught:
        Kl(model=str(folder)).decode(torch.zeros(1, 4, 2, 2))
    assert caught.value.hint == 'pip install "cdkit[diffusers]"'


def test_weights_are_missing(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    with pytest.raises(
        EnvironmentFault, match="the weights of stabilityai/sdxl-vae are not on this machine; looked in"
    ) as caught:
        Kl(model="stabilityai/sdxl-vae").decode(torch.zeros(1, 4, 2, 2))
    assert "hf download stabilityai/sdxl-vae" in caught.value.hint
    (tmp_path / "config.json").write_bytes((folder / "config.json").read_bytes())
    with pytest.raises(EnvironmentFault, match=rf"has no {FILE}"):
        Kl(model=str(tmp_path)).decode(torch.zeros(1, 4, 2, 2))


def test_weights_are_of_another_model(folder: Path, tmp_path: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"latent_channels": 8}))
    (tmp_path / FILE).write_bytes((folder / FILE).read_bytes())
    with pytest.raises(EnvironmentFault, match="cannot be read"):
        Kl(model=str(tmp_path)).decode(torch.zeros(1, 8, 2, 2))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ([], "expected a JSON object"),
        ({}, "it does not describe an AutoencoderKL"),
        ({"block_out_channels": [10**9], "layers_per_block": 2, "latent_channels": 4}, "expected figures from 1 to 65536"),
        ({"block_out_channels": "x", "layers_per_block": 2, "latent_channels": 4}, "it does not describe an AutoencoderKL"),
    ],
)
def test_impossible_configurations(tmp_path: Path, config: object, message: str) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=message):
        Kl(model=str(tmp_path))


@pytest.mark.parametrize("name", ["stabilityai/sd-vae", "https://example.org/x", "../x", ""])
def test_unknown_names(name: str) -> None:
    with pytest.raises(ValueError, match="is no folder here, and no configuration of that name ships with cdkit; the nearest"):
        Kl(model=name)
