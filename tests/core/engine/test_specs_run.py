"""Every spec that ships trains a step and draws, with the network that it names, wherever its data and weights are at hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from cdkit.engine.birth import give_birth
from cdkit.engine.evaluate import make_dataset
from cdkit.engine.load import load
from cdkit.engine.run import Run
from cdkit.engine.train import train
from cdkit.errors import CdkitError
from cdkit.spec import Spec, read_spec

SPECS = Path(__file__).parents[3] / "specs"
# Layouts of published models, and film, name no data.
TRAINED = sorted(path for path in SPECS.glob("*.yaml") if path.stem != "film" and not path.stem.endswith("_like"))
ONCE = ("train.steps=1", "train.batch=2", "train.workers=0", "train.sample_every=0", "sampler.steps=2")


@pytest.mark.long
@pytest.mark.parametrize("path", TRAINED, ids=lambda path: path.stem)
def test_a_shipped_spec_trains_and_draws(path: Path, tmp_path: Path) -> None:
    spec = seeing(read_spec(path, overrides=ONCE), tmp_path / "eyes")
    try:
        dataset = make_dataset(spec)
        first = dataset.split("train")[0]
        base = Run(give_birth(replace(spec, lora=None), tmp_path / "base")) if spec.lora else None  # a LoRA adapts what is there
        run = train(spec, tmp_path / "run", init_from=base, say=lambda _: None)
    except CdkitError as error:
        pytest.skip(f"not at hand here: {error}")
    model = load(run.path)
    if spec.task == "autoencoder":
        assert model.autoencoder.decode(model.autoencoder.encode(first.image.unsqueeze(0))).isfinite().all()
        return
    samples = model.sample(
        {column: [first.values[column][0]] for column in model.columns}, n=1, guidance=1.0 if model.columns else None
    )
    assert samples.images.shape == (1, *first.image.shape)
    assert samples.images.isfinite().all()


def seeing(spec: Spec, eyes: Path) -> Spec:
    """With an autoencoder that a step was trained for it, where it wants one."""
    if spec.autoencoder is None or not spec.autoencoder.run or spec.task == "autoencoder":
        return spec
    train(replace(spec, task="autoencoder"), eyes, say=lambda _: None)
    return replace(spec, autoencoder=replace(spec.autoencoder, run=str(eyes)))
