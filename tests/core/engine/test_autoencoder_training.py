"""Latent diffusion from scratch: an autoencoder learns, a stopped training ends bit-equal, and a denoiser draws with it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from cdkit.build import assemble
from cdkit.cache import cache_folder
from cdkit.engine.convert import from_run
from cdkit.engine.evaluate import make_dataset
from cdkit.engine.examinee import Examined
from cdkit.engine.load import load
from cdkit.engine.pack import pack
from cdkit.engine.prepare import prepare
from cdkit.engine.run import Run
from cdkit.engine.train import train
from cdkit.errors import CheckpointError, SpecError, UsageError
from cdkit.registry import Registry
from cdkit.spec import Spec, SpecErrors, read_spec
from cdkit_metrics.reconstruction import Reconstruction
from torch import Tensor

LATENT = Path(__file__).parents[3] / "specs" / "latent_shapes.yaml"
SMALL = (
    "conditions.text.dim=16",
    "conditions.text.depth=1",
    "backbone.width=16",
    "backbone.blocks=1",
    "backbone.mult=[1]",
    "backbone.attention=[0]",
    "autoencoder.width=8",
    "data.count=200",
    "sampler.steps=2",
    "train.warmup=2",
    "train.batch=8",
    "train.steps=6",
    "train.log_every=1",
    "train.sample_every=0",
    "train.checkpoint_every=1",
    "train.keep=20",
)
EYES = ("task=autoencoder", "train.prompts=[]")
Make = Callable[..., Spec]


def small(*overrides: str) -> Spec:
    return read_spec(LATENT, overrides=(*SMALL, *overrides))


def quiet(line: str) -> None:
    del line


def tensors(run: Run, name: str) -> dict[str, Tensor]:
    checkpoint = run.latest()
    assert checkpoint is not None
    return checkpoint.tensors(name)


def hashes(run: Run) -> dict[str, str]:
    checkpoint = run.latest()
    assert checkpoint is not None
    return {name: described["sha256"] for name, described in checkpoint.manifest["files"].items()}


@pytest.fixture(scope="module")
def eyes(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(small(*EYES), tmp_path_factory.mktemp("eyes") / "run", say=quiet)


@pytest.fixture(scope="module")
def drawer(tmp_path_factory: pytest.TempPathFactory, eyes: Run) -> Run:
    said: list[str] = []
    spec = small(f"autoencoder.run={eyes.path}", "train.sample_every=3")
    run = train(spec, tmp_path_factory.mktemp("drawer") / "run", say=said.append)
    assert f"draws with the autoencoder of {eyes.path} at step 6" in said[0]
    return run


def test_it_learns_more_than_the_mean_picture(tmp_path: Path) -> None:
    spec = small(
        *EYES, "autoencoder.width=16", "train.steps=120", "train.lr=2.0e-3", "train.ema=0.9", "train.checkpoint_every=200"
    )
    run = train(spec, tmp_path / "run", say=quiet)
    examined = Examined(load(run.path, device="cpu"), make_dataset(spec), cache_folder(), tell=quiet)
    held_out = Reconstruction(split="validation")(examined)
    assert held_out["share"] < 0.7
    assert held_out["error"] < held_out["error_of_mean_picture"]
    assert 0 < held_out["standard_error"] < 2
    born = Examined(assemble(spec).eval(), make_dataset(spec), cache_folder(), tell=quiet)
    assert Reconstruction(split="validation")(born)["share"] > 0.9, "and before it had learned, it was no better"


@pytest.mark.parametrize("stop", [1, 3, 5])
def test_a_stopped_training_ends_bit_equal(tmp_path: Path, eyes: Run, stop: int) -> None:
    run = train(small(*EYES), tmp_path / "run", say=quiet)
    for path in run.checkpoints.iterdir():
        if int(path.name.removeprefix("step-")) > stop:
            path.rename(tmp_path / path.name)
    assert hashes(train(small(*EYES), tmp_path / "run", say=quiet)) == hashes(eyes)


def test_a_run_keeps_what_it_trained_and_nothing_else(eyes: Run) -> None:
    checkpoint = eyes.latest()
    assert checkpoint is not None
    assert set(checkpoint.names) == {"autoencoder", "ema", "optimizer"}
    assert all(name.startswith("autoencoder.") for name in tensors(eyes, "ema"))


def test_it_shows_what_comes_back(tmp_path: Path) -> None:
    train(small(*EYES, "train.sample_every=6"), tmp_path / "run", say=quiet)
    from PIL import Image

    with Image.open(tmp_path / "run" / "samples" / "step-000006.png") as picture:
        assert len(json.loads(picture.info["cdkit"])["of"]) == 8


def test_a_denoiser_draws_with_it_and_keeps_it(tmp_path: Path, eyes: Run, drawer: Run) -> None:
    seen, own = tensors(eyes, "ema"), tensors(drawer, "autoencoder")
    assert all(torch.equal(own[name.removeprefix("autoencoder.")], value) for name, value in seen.items())
    assert not any(name.startswith("autoencoder.") for name in tensors(drawer, "ema")), "it is frozen"
    samples = load(drawer.path).sample("a red circle", seed=0)
    assert samples.images.shape == (1, 3, 32, 32)
    assert (drawer.path / "samples" / "step-000003.png").is_file()
    moved = tmp_path / "elsewhere"
    drawer.path.rename(moved)
    eyes.path.rename(eyes.path.with_name("gone"))
    try:
        assert torch.equal(load(moved).sample("a red circle", seed=0).images, samples.images), "no other folder is needed"
        packed = pack(Run(moved), tmp_path / "packed", licence="none")
        assert torch.allclose(load(packed).sample("a red circle", seed=0).images, samples.images, atol=0.05)
    finally:
        moved.rename(drawer.path)
        eyes.path.with_name("gone").rename(eyes.path)


def test_the_denoiser_learns_latents_and_not_pixels(eyes: Run, tmp_path: Path) -> None:
    """Its target at birth: a network that answers zero has lost the variance of noise minus latents, which is 2."""
    run = train(small(f"autoencoder.run={eyes.path}", "train.steps=1", "train.batch=64"), tmp_path / "run", say=quiet)
    first = json.loads((run.path / "metrics.jsonl").read_text().splitlines()[0])
    assert abs(first["loss"] - 2) < 0.2


def test_latents_that_were_prepared_are_those_that_training_makes(tmp_path: Path, eyes: Run) -> None:
    spec = small(f"autoencoder.run={eyes.path}", "conditions.text={use: bytes, dim: 16, heads: 2, trainable: false}")
    prepare(spec, tmp_path / "kept", shard=1000, say=quiet)
    kept = "data={use: prepared, path: " + str(tmp_path / "kept") + "}"
    frozen = ("conditions.text={use: bytes, dim: 16, heads: 2, trainable: false}", kept, "evaluate=[]")
    without = [one for one in SMALL if not one.startswith(("conditions.", "data."))]
    trained = train(read_spec(LATENT, overrides=(*without, *frozen, f"autoencoder.run={eyes.path}")), tmp_path / "run", say=quiet)
    first = Registry.installed().get("dataset", "prepared")(path=str(tmp_path / "kept")).split("train")[0]
    assert tuple(first.image.shape) == (4, 8, 8)
    model = load(trained.path)
    assert model.autoencoder is not None
    picture = Registry.installed().get("dataset", "shapes")(count=200).split("train")[0]
    with torch.no_grad():
        latent = model.autoencoder.encode(picture.image[None])[0]
    torch.testing.assert_close(first.image, latent, rtol=0, atol=1e-5)
    assert model.sample("a red circle", steps=2).images.shape == (1, 3, 32, 32)


def test_a_run_that_goes_on_from_another_takes_its_autoencoder(tmp_path: Path, drawer: Run) -> None:
    run = train(small("train.steps=1"), tmp_path / "run", init_from=drawer, say=quiet)
    one, other = tensors(run, "autoencoder"), tensors(drawer, "autoencoder")
    assert all(torch.equal(one[name], value) for name, value in other.items())


def test_a_denoiser_does_not_draw_with_what_nobody_trained(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match=r"autoencoder: tiny has weights of its own, and no run is named that trained them"
    ) as caught:
        train(small("autoencoder.run=''"), tmp_path / "run", say=quiet)
    assert "--set task=autoencoder" in caught.value.hint
    with pytest.raises(CheckpointError, match="nowhere: is neither a run folder nor"):
        train(small(f"autoencoder.run={tmp_path / 'nowhere'}"), tmp_path / "second", say=quiet)


def test_a_run_without_an_autoencoder_is_named(tmp_path: Path, eyes: Run) -> None:
    kept = [line for line in SMALL if "autoencoder" not in line]
    told = ("autoencoder=null", "sample={channels: 3, height: 32, width: 32}", "train.steps=1")
    pixels = read_spec(LATENT, overrides=(*kept, *told))
    other = train(pixels, tmp_path / "pixels", say=quiet)
    with pytest.raises(CheckpointError, match=r"autoencoder\.run: .* holds no autoencoder; it has only backbone, "):
        train(small(f"autoencoder.run={other.path}"), tmp_path / "run", say=quiet)
    with pytest.raises(CheckpointError, match="is of another model"):
        train(small(f"autoencoder.run={eyes.path}", "autoencoder.depth=2"), tmp_path / "deeper", say=quiet)


def test_an_autoencoder_draws_nothing(eyes: Run) -> None:
    with pytest.raises(
        UsageError, match="latent_shapes is an autoencoder: it turns pictures into latents and back, and draws none"
    ):
        load(eyes.path).sample("a red circle")


def test_its_weights_are_not_left_behind_unnoticed(drawer: Run) -> None:
    with pytest.raises(UsageError, match="holds the weights of its autoencoder, 'tiny', and no format has a place for them"):
        from_run(drawer, None)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("task=autoencoder", "autoencoder=null"), "task: there is no `autoencoder:` to train"),
        (("task=autoencoder", "lora={}"), "lora: this task trains the autoencoder, and a LoRA adapts the denoiser"),
        (("task=draw",), "there is no 'draw'; expected one of 'denoise', 'autoencoder'"),
    ],
)
def test_a_task_that_makes_no_sense(overrides: tuple[str, ...], message: str) -> None:
    with pytest.raises(SpecErrors, match=message):
        read_spec(LATENT, overrides=overrides)


def test_what_comes_trained_is_not_trained() -> None:
    text = """
cdkit: 1
name: x
task: autoencoder
sample: {channels: 4, height: 8, width: 8}
backbone: {use: unet, width: 16}
autoencoder: {use: kl}
data: {use: shapes}
"""
    with pytest.raises(SpecError, match=r":7:14: autoencoder: kl comes with its weights and cannot be trained"):
        assemble(read_spec(text), device="meta")


def test_pictures_of_another_size_are_refused(tmp_path: Path, eyes: Run) -> None:
    with pytest.raises(
        SpecError, match=r"data: its pictures are 64 x 64 of 3 channels; this model draws 32 x 32 of 3 channels \(4 pix"
    ):
        train(small("data.size=64", f"autoencoder.run={eyes.path}"), tmp_path / "run", say=quiet)
