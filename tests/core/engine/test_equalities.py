"""Equalities of a training: a batch and its parts, averages in half precision, what is saved twice, pictures learned by heart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from cdkit.build import assemble
from cdkit.engine.batches import Batch, Batches
from cdkit.engine.blocks import blocks_of, recompute
from cdkit.engine.checkpoint import verified, write_checkpoint
from cdkit.engine.denoising import training_loss
from cdkit.engine.device import accelerator
from cdkit.engine.ema import Ema
from cdkit.engine.evaluate import make_dataset
from cdkit.engine.run import Run
from cdkit.engine.train import train
from cdkit.spec import Spec
from torch import Tensor, nn

Tiny = Callable[..., Spec]
CPU = torch.device("cpu")


def quiet(line: str) -> None:
    del line


def rows(batch: Batch, first: int, last: int) -> Batch:
    raw = {column: values[first:last] for column, values in batch.raw.items()}
    return replace(batch, ids=batch.ids[first:last], images=batch.images[first:last], raw=raw)


def loss(model: Any, batch: Batch, spec: Spec) -> Tensor:
    return training_loss(model, batch, 0, CPU, accelerator(spec.train, CPU))


def gradients(model: Any, batches: list[Batch], spec: Spec) -> dict[str, Tensor]:
    model.zero_grad()
    for batch in batches:
        (loss(model, batch, spec) / len(batches)).backward()
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters() if parameter.grad is not None}


def test_a_batch_and_its_parts_accumulated_have_one_gradient(tiny: Tiny) -> None:
    """8 x 1, 4 x 2 and 2 x 4 in float64: what is drawn for a picture depends on no other."""
    spec = tiny("train.batch=8")
    model: Any = assemble(spec).double().train()
    batch = Batches(make_dataset(spec), model.columns, batch=8, seed=0)[3]
    batch = replace(batch, images=batch.images.double())
    whole = gradients(model, [batch], spec)
    for size in (4, 2, 1):
        parts = gradients(model, [rows(batch, first, first + size) for first in range(0, 8, size)], spec)
        assert parts.keys() == whole.keys()
        for name, value in whole.items():
            assert torch.allclose(parts[name], value, rtol=1e-6, atol=1e-8), name
    assert any(bool(value.abs().max() > 1e-3) for value in whole.values()), "there is something to compare"


def test_made_again_or_kept_loss_and_gradients_are_the_same(tiny: Tiny) -> None:
    """In float64, to the bit: every block runs once to answer and begins once more for its gradients."""
    spec = tiny()
    model: Any = assemble(spec).double().train()
    batch = Batches(make_dataset(spec), model.columns, batch=4, seed=0)[3]
    batch = replace(batch, images=batch.images.double())
    blocks, runs = blocks_of(model.backbone)[0], list[nn.Module]()
    for block in blocks:
        next(module for module in block.modules() if not list(module.children())).register_forward_pre_hook(
            lambda module, *_: runs.append(module)
        )
    kept, answered = gradients(model, [batch], spec), loss(model, batch, spec)
    once = len(runs)
    recompute(blocks)
    runs.clear()
    again = gradients(model, [batch], spec)
    assert len(runs) == once  # of two forward passes; now of one and its way back
    assert torch.equal(loss(model, batch, spec), answered)
    assert again.keys() == kept.keys()
    for name, value in kept.items():
        assert torch.equal(again[name], value), name
    assert any(bool(value.abs().max() > 1e-3) for value in kept.values()), "there is something to compare"


def test_the_average_of_half_precision_weights_moves() -> None:
    """A bfloat16 average would stand still: a thousandth of a step is less than its precision."""
    module = nn.Linear(1, 1, bias=False).to(torch.bfloat16)
    nn.init.constant_(module.weight, 1.0)
    ema = Ema(module, 0.999)
    ema.updates = 10_000  # past the beginning
    nn.init.constant_(module.weight, 2.0)
    for _ in range(1000):
        ema.update()
    assert ema.values[0].dtype == torch.float32
    assert ema.values[0].item() == pytest.approx(2 - 0.999**1000, abs=1e-4)


def test_what_is_loaded_and_saved_again_has_the_same_bytes(tmp_path: Path, tiny: Tiny) -> None:
    checkpoint = train(tiny("train.steps=2"), tmp_path / "run", say=quiet).latest()
    assert checkpoint is not None
    tensors = {name: checkpoint.tensors(name) for name in checkpoint.names}
    facts = {key: value for key, value in checkpoint.manifest.items() if key not in ("schema", "step", "files", "sha256")}
    again = write_checkpoint(tmp_path / "again", checkpoint.step, tensors, checkpoint.state(), facts)
    assert {path.name: path.read_bytes() for path in again.iterdir()} == {
        path.name: path.read_bytes() for path in checkpoint.folder.iterdir()
    }
    assert verified(again).manifest == checkpoint.manifest


def few(spec: Spec, told: Callable[[int], str]) -> Spec:
    """The same spec on eight pictures of eight digits, each with the caption that `told` gives the digit."""
    assert spec.data is not None
    real: Any = spec.data.factory()

    class Few(real):
        def split(self, split: Any) -> Any:
            by = {example.values["label"][0]: example for example in super().split(split)}
            chosen = [by[name] for name in sorted(by)[:8]]
            return [replace(one, values={**one.values, "text": (told(place),)}) for place, one in enumerate(chosen)]

    registry = spec.registry.extended({("dataset", "few"): Few})
    return replace(spec, data=replace(spec.data, use="few", registry=registry), registry=registry)


def loss_of(run: Run, spec: Spec) -> float:
    """The mean loss over 40 batches of these pictures and captions, with the run's weights."""
    from cdkit.engine.weights import load_weights

    model: Any = assemble(spec, drawn=False)
    checkpoint = run.latest()
    assert checkpoint is not None
    load_weights(model, checkpoint, averaged=False)
    model.eval()
    batches = Batches(make_dataset(spec), model.columns, batch=8, seed=1)
    device = accelerator(spec.train, CPU)
    with torch.no_grad():
        return float(torch.stack([training_loss(model, batches[step], 1, CPU, device) for step in range(40)]).mean())


@pytest.mark.slow
def test_eight_pictures_are_learned_by_heart_with_their_captions(tmp_path: Path, tiny: Tiny) -> None:
    """300 steps: the loss falls to a fraction, and captions of other pictures raise it."""
    options = (
        "train.steps=300", "train.batch=8", "train.lr=1e-2", "train.warmup=10", "train.checkpoint_every=300",
        "train.log_every=300", "backbone.width=16", "conditions.text.dim=16", "conditions.text.dropout=0",
    )  # fmt: skip
    spec = few(tiny(*options), lambda place: "abcdefgh"[place])
    start = loss_of(train(replace(spec, train=replace(spec.train, steps=1)), tmp_path / "start", say=quiet), spec)
    run = train(spec, tmp_path / "run", say=quiet)
    learned, shuffled = loss_of(run, spec), loss_of(run, few(spec, lambda place: "bcdefgha"[place]))
    assert learned < 0.35 * start
    assert shuffled > 1.2 * learned
