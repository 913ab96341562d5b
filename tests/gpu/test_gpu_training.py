"""On a GPU: training compiled by block, recomputed by level, fed by workers; optimizer and averages in a few kernels."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from cdkit.build import assemble
from cdkit.engine.ahead import sent
from cdkit.engine.batches import Batch
from cdkit.engine.blocks import made_again, recompute
from cdkit.engine.journal import losses_of
from cdkit.engine.learned import Learned
from cdkit.engine.train import train
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


def test_levels_made_again_take_less_memory() -> None:
    most: list[int] = []
    for which in (False, [1], [0], True):
        model = assemble(read_spec(SPEC, overrides=("backbone.width=128",)), device="cuda").train()
        recompute(made_again(model, which))
        torch.cuda.reset_peak_memory_stats()
        x, t = torch.randn(256, *model.shape, device="cuda"), torch.full((256,), 500.0, device="cuda")
        model(x, t, {"text": ["seven"] * 256}).square().mean().backward()
        most.append(torch.cuda.max_memory_allocated())
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
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
    ) as profile:
        learned.update()
    calls = {event.key: event.count for event in profile.key_averages()}
    assert calls.get("aten::_fused_adamw_") == 1
    assert calls.get("aten::_foreach_lerp_") == 2, "of the average, and of the one whose length is chosen later"
    assert "aten::lerp_" not in calls
    assert calls.get("cudaLaunchKernel", 0) < len(list(model.parameters()))
