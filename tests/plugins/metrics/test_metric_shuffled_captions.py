"""identification finds out a model that was trained on other pictures' captions: it falls to chance, its twin does not.

Two real trainings on the digits, alike in weights at birth, pictures, noise and steps; they differ in who was called what.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from cdkit.build.assemble import assemble
from cdkit.engine.batches import Batches
from cdkit.engine.denoising import training_loss
from cdkit.engine.device import accelerator
from cdkit.engine.examinee import Examined
from cdkit.model import Model
from cdkit.parts import Dataset, Example
from cdkit.spec import read_spec
from cdkit_data.digits import Digits
from cdkit_metrics.identification import Identification

SPEC = Path(__file__).parents[3] / "specs" / "digits.yaml"
CPU = torch.device("cpu")
STEPS = 130


class Shuffled(Digits):
    """The digits, each training picture under another one's captions; held-out pictures keep their own."""

    def split(self, name: Literal["train", "validation", "test"]) -> Sequence[Example]:
        examples = super().split(name)
        if name != "train":
            return examples
        order = torch.randperm(len(examples), generator=torch.Generator().manual_seed(0)).tolist()
        return [replace(example, values=examples[other].values) for example, other in zip(examples, order, strict=True)]


def trained(dataset: Dataset) -> Model:
    spec = read_spec(SPEC, overrides=["backbone.width=16", "conditions.text.dropout=0"])
    model = assemble(spec).train()
    batches = Batches(dataset, model.columns, batch=64, seed=0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    engine = accelerator(spec.train, CPU)
    for step in range(STEPS):
        optimizer.zero_grad()
        training_loss(model, batches[step], 0, CPU, engine).backward()
        optimizer.step()
    return model


def identified(model: Model, cache: Path) -> dict[str, Any]:
    metric = Identification(pairs=181, levels=(0.4, 0.6, 0.8))
    return dict(metric(Examined(model, Digits(), cache, tell=str))["identified"])


@pytest.mark.slow
@pytest.mark.parametrize(("dataset", "at_chance"), [(Digits, False), (Shuffled, True)])
def test_who_learnt_shuffled_captions_is_at_chance(dataset: type[Dataset], at_chance: bool, tmp_path: Path) -> None:
    low, high = identified(trained(dataset()), tmp_path)["interval"]
    assert (low < 0.1 < high) is at_chance
    assert at_chance or low > 0.2
