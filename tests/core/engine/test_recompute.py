"""Gradient checkpointing by level: the same gradients to the bit, less kept the more is made again; levels that are not there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from cdkit.build import assemble
from cdkit.engine.batches import Batch, Batches
from cdkit.engine.blocks import levels_of, made_again, recompute
from cdkit.engine.denoising import training_loss
from cdkit.engine.device import accelerator
from cdkit.engine.evaluate import make_dataset
from cdkit.engine.train import train
from cdkit.errors import SpecError
from cdkit.plan.counted import counted
from cdkit.plan.machine import MACHINES
from cdkit.plan.plan import Way, memory_of, step_of
from cdkit.spec import Spec
from torch import Tensor

Tiny = Callable[..., Spec]
CPU = torch.device("cpu")
THREE = ("backbone.mult=[1, 2, 2]", "backbone.attention=[0, 1]")  # levels of 8 x 8, 4 x 4 and 2 x 2
CLASSIC = "backbone={use: unet_classic, width: 8, mult: [1, 2, 2], head_dim: 4}"
DIT = "backbone={use: dit, width: 16, depth: 2, heads: 2}"


def quiet(line: str) -> None:
    del line


class Kept:
    """Bytes that a forward pass keeps for the way back, each storage once; and those gradients."""

    def __init__(self, spec: Spec, which: bool | Sequence[int], batch: Batch) -> None:
        self.model: Any = assemble(spec).train()
        blocks = made_again(self.model, which)
        recompute(blocks)
        own = {parameter.data_ptr() for parameter in self.model.parameters()}
        self.bytes: dict[int, int] = {}

        def pack(tensor: Tensor) -> Tensor:
            if tensor.untyped_storage().data_ptr() not in own:
                self.bytes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        for block in blocks:  # what enters is held by the block's second run, and by no graph
            block.register_forward_pre_hook(lambda _, inputs: [pack(one) for one in inputs if isinstance(one, Tensor)] and None)
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            loss = training_loss(self.model, batch, 0, CPU, accelerator(spec.train, CPU))
        loss.backward()
        self.gradients = {name: p.grad for name, p in self.model.named_parameters() if p.grad is not None}

    @property
    def total(self) -> int:
        return sum(self.bytes.values())


@pytest.fixture(scope="module")
def kept(tiny: Tiny) -> Callable[[bool | Sequence[int]], Kept]:
    spec = tiny(*THREE)
    batch = Batches(make_dataset(spec), assemble(spec).columns, batch=4, seed=0)[3]
    return lambda which: Kept(spec, which, batch)


@pytest.mark.parametrize("which", [[0], [1], [2], [0, 2], [2, 1, 0], [0, 0], [], True])
def test_gradients_are_the_same_to_the_bit(kept: Callable[[bool | Sequence[int]], Kept], which: bool | Sequence[int]) -> None:
    once, again = kept(False), kept(which)
    assert again.gradients.keys() == once.gradients.keys()
    for name, value in once.gradients.items():
        assert torch.equal(again.gradients[name], value), name


def test_the_more_is_made_again_the_less_is_kept(kept: Callable[[bool | Sequence[int]], Kept]) -> None:
    whole, top, low, most, all_of_them = (kept(which).total for which in (False, [0], [2], [0, 1, 2], True))
    assert whole > low > top > most >= all_of_them
    assert whole - top > 2 * (whole - low), "most memory is at the finest level"
    assert kept([]).total == whole


def test_levels_are_where_sites_lie(tiny: Tiny) -> None:
    for backbone in (THREE, [CLASSIC]):
        model = assemble(tiny(*backbone), device="meta")
        assert [level.stride for level in levels_of(model.backbone)] == [1, 2, 4]
    assert [level.stride for level in levels_of(assemble(tiny(DIT), device="meta").backbone)] == [2]


@pytest.mark.parametrize(
    ("backbone", "said"),
    [
        (THREE, "unet has no level 3; its levels are 0 (stride 1), 1 (stride 2), 2 (stride 4)"),
        ([DIT], "dit has no level 3; its levels are 0 (stride 2)"),
    ],
)
def test_a_level_that_is_not_there_is_refused_with_those_that_are(
    tmp_path: Path, tiny: Tiny, backbone: Sequence[str], said: str
) -> None:
    spec = tiny(*backbone, "train.recompute=[0, 3]")
    for call in (lambda: train(spec, tmp_path / "run", say=quiet), lambda: counted(spec)):
        with pytest.raises(SpecError) as error:
            call()
        assert str(error.value) == f"{spec.place}: train.recompute: {said}"
        assert error.value.hint == "true takes every block, whatever its level"
    assert not (tmp_path / "run").exists()


def test_what_stands_at_no_level_has_none(tiny: Tiny) -> None:
    model = assemble(tiny(), device="meta")
    model.backbone = torch.nn.ModuleList([torch.nn.Linear(2, 2)])  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(SpecError, match=r"unet has no level 0; its levels are none$"):
        made_again(model, [0])


def test_a_training_is_the_same_to_the_bit(tmp_path: Path, tiny: Tiny) -> None:
    spec = tiny("train.steps=3", "train.checkpoint_every=100")
    files: list[bytes] = []
    for name, which in (("kept", False), ("again", (0,))):
        run = train(replace(spec, train=replace(spec.train, recompute=which)), tmp_path / name, say=quiet)
        files.append((run.checkpoints / "step-000003" / "backbone.safetensors").read_bytes())
    assert files[0] == files[1]


def test_a_plan_knows_levels(tiny: Tiny) -> None:
    what, h100 = counted(tiny(*THREE)), MACHINES["h100"]
    ways: list[bool | tuple[int, ...]] = [False, (2,), (0,), (0, 1, 2)]
    kept = [memory_of(what, h100, Way(gpus=1, recompute=which)).activations for which in ways]
    assert kept == sorted(kept, reverse=True)
    assert len(set(kept)) == len(kept)
    seconds = [step_of(what, h100, Way(gpus=1, recompute=which)).seconds for which in (False, (0,), (0, 1, 2), True)]
    assert seconds == sorted(seconds)
    assert len(set(seconds)) == len(seconds)
    assert 0.5 < sum(level.share for level in what.levels) < 1
