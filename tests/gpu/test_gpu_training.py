"""On a GPU: training compiled by block, recomputed by level, fed by workers; optimizer and averages in a few kernels."""

from __future__ import annotations

import gc
import math
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from cdkit.build import assemble
from cdkit.engine.ahead import sent
from cdkit.engine.batches import Batch
from cdkit.engine.blocks import made_again, recompute
from cdkit.engine.journal import Unwritten, losses_of
from cdkit.engine.learned import Learned
from cdkit.engine.run import Run
from cdkit.engine.train import train
from cdkit.engine.trainer import Trainer
from cdkit.errors import NumericsError
from cdkit.fast.replayed import Replayed
from cdkit.fast.strides import rows_in
from cdkit.fast.training import quick
from cdkit.spec import read_spec

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

SPEC = Path(__file__).parents[2] / "specs" / "digits.yaml"
SHORT = ("train.steps=8", "train.log_every=1", "train.checkpoint_every=100", "train.sample_every=0", "backbone.width=64")


def losses(folder: Path, *more: str) -> list[float]:
    run = train(read_spec(SPEC, overrides=(*SHORT, *more)), folder, device="cuda", say=lambda _: None)
    return list(losses_of(run.path).values())


@pytest.mark.timeout(900)
@pytest.mark.parametrize("way", ["train.compile=regional", "train.compile=whole", "train.recompute=[0]", "train.workers=2"])
def test_every_way_has_the_losses_of_the_plain_one(tmp_path: Path, way: str) -> None:
    found, wanted = losses(tmp_path / "way", way), losses(tmp_path / "plain")
    assert len(found) == 8
    assert found == pytest.approx(wanted, rel=2e-2)


def test_what_is_sent_ahead_is_the_same_and_on_the_device() -> None:
    batch = Batch(0, ["a", "b"], torch.randn(2, 3, 32, 32), {})
    there = sent(batch, torch.device("cuda"))
    assert there.images.is_cuda
    assert torch.equal(there.images.cpu(), batch.images)


@pytest.mark.parametrize("then", ["another update", "a save"])
def test_a_gradient_that_is_no_number_updates_nothing_and_is_told_before_anything_is_kept(tmp_path: Path, then: str) -> None:
    spec = read_spec(SPEC, overrides=(*SHORT, "train.log_every=100"))
    trainer = Trainer(spec, Run(tmp_path), torch.device("cuda"), lambda _: None)
    trainer.begin(None)
    groups, weights = trainer._groups(), list(trainer.model.parameters())  # pyright: ignore[reportPrivateUsage]

    def update() -> None:
        trainer._update(next(groups), Unwritten())  # pyright: ignore[reportPrivateUsage]

    with trainer.hurried(), closing(groups):
        for _ in range(5):  # the last as a replay
            update()
        before = [weight.detach().clone() for weight in weights]
        trainer.model.encoders["text"].register_forward_hook(
            lambda *given: replace(given[-1], pooled=given[-1].pooled * math.nan)
        )
        update()
        assert all(torch.equal(one, other) for one, other in zip(before, weights, strict=True))
        with pytest.raises(NumericsError, match=r"step 6: the loss is nan and .* nothing was updated"):
            update() if then == "another update" else trainer.save()
    assert not list(tmp_path.glob("checkpoints/*"))


class Listener:
    """Takes gradients as a process among several would, and puts twice of each in its place."""

    def __init__(self, weights: list[torch.nn.Parameter]) -> None:
        self.weights = weights
        self.heard: list[torch.Tensor] = []
        self.aside = torch.cuda.Stream()

    def groups(self) -> list[list[torch.nn.Parameter]]:
        return [self.weights[place : place + 7] for place in range(0, len(self.weights), 7)]

    def send(self, row: torch.Tensor, ready: torch.cuda.Event) -> None:
        with torch.cuda.stream(self.aside):
            self.aside.wait_event(ready)
            self.heard.append(row.clone())
            row *= 2


def test_a_recorded_way_back_says_when_gradients_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is whole when its event says so, long before the last is; and what is put in its place is the weight's gradient."""
    monkeypatch.setattr("cdkit.fast.marked.BETWEEN", 0)  # an event for each group, of a network smaller than those it is for
    model = assemble(read_spec(SPEC), device="cuda").train()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.1)
    order: list[torch.nn.Parameter] = []
    hooks = [weight.register_hook(lambda _, weight=weight: order.append(weight)) for weight in model.backbone.parameters()]
    torch.manual_seed(0)
    x, t = torch.randn(32, *model.shape, device="cuda"), torch.full((32,), 500.0, device="cuda")

    def gradients(predict: Callable[..., torch.Tensor]) -> None:
        with quick(torch.device("cuda")):
            model.zero_grad(set_to_none=True)
            signals = model.prepare(model.joined(model.encode({"text": ["seven"] * 32})))
            predict(x, t, signals).square().mean().backward()

    gradients(model.backbone)
    for hook in hooks:
        hook.remove()
    listener = Listener(order)
    replayed = Replayed(model.backbone, listener)
    for _ in range(3):
        x.copy_(torch.randn_like(x))
        gradients(model.backbone)
        wanted = {weight: weight.grad.clone() for weight in order if weight.grad is not None}
        listener.heard.clear()
        gradients(replayed)
        torch.cuda.current_stream().wait_stream(listener.aside)
        assert len(listener.heard) > 5
        for group, heard in zip(listener.groups(), listener.heard, strict=False):
            for weight, found in zip(group, rows_in(heard, group), strict=True):
                assert weight.grad is not None
                assert torch.equal(weight.grad, 2 * found)
                assert float((found - wanted[weight]).norm() / wanted[weight].norm().clamp(min=1e-6)) < 2e-2


def test_levels_made_again_take_less_memory() -> None:
    most: list[int] = []
    for which in (False, [1], [0], True):
        gc.collect()
        model = assemble(read_spec(SPEC, overrides=("backbone.width=128",)), device="cuda").train()
        recompute(made_again(model, which))
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        x, t = torch.randn(256, *model.shape, device="cuda"), torch.full((256,), 500.0, device="cuda")
        model(x, t, {"text": ["seven"] * 256}).square().mean().backward()
        most.append(torch.cuda.max_memory_allocated() - before)
        del model
    assert most[0] > max(most[1:3])
    assert min(most[1:3]) > most[3]


def test_an_update_is_a_few_kernels_for_all_weights() -> None:
    """AdamW fused, averages by foreach: as many launches as there are chunks of tensors, and not one or more a weight."""
    model = assemble(read_spec(SPEC, overrides=("train.ema_lengths=[0.1]",)), device="cuda").train()
    learned = Learned(model, model.spec.train)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    learned.update()
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities, acc_events=True) as profile:
        learned.update()
    calls = {event.key: event.count for event in profile.key_averages()}
    assert calls.get("aten::_fused_adamw_") == 1
    assert calls.get("aten::_foreach_lerp_") == 2, "of the average, and of the one whose length is chosen later"
    assert "aten::lerp_" not in calls
    assert calls.get("cudaLaunchKernel", 0) < len(list(model.parameters()))
