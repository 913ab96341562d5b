"""Training a LoRA: it learns, nothing else moves, a stopped run ends bit-equal, and what it learned goes where the run goes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from cdkit.engine.convert import from_run
from cdkit.engine.load import load
from cdkit.engine.pack import pack
from cdkit.engine.run import Run
from cdkit.engine.train import train
from cdkit.errors import CheckpointError, UsageError
from cdkit.model.lora import TRAINED
from cdkit.spec import Spec, SpecErrors, read_spec
from torch import Tensor

Tiny = Callable[..., Spec]
LORA = "lora={rank: 2, alpha: 2, targets: [to_q, to_k, to_v, to_out, proj]}"


def quiet(line: str) -> None:
    del line


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, tiny: Tiny) -> Run:
    return train(tiny(), tmp_path_factory.mktemp("base") / "run", say=quiet)


@pytest.fixture(scope="module")
def adapted(tmp_path_factory: pytest.TempPathFactory, tiny: Tiny, base: Run) -> Run:
    said: list[str] = []
    run = train(tiny(LORA), tmp_path_factory.mktemp("adapted") / "run", init_from=base, say=said.append)
    assert "by a LoRA of 36 layers and 3,072 weights" in said[0]
    return run


def weights(run: Run, name: str) -> dict[str, Tensor]:
    checkpoint = run.latest()
    assert checkpoint is not None
    return checkpoint.tensors(name)


def averages(run: Run) -> dict[str, Tensor]:
    """The base's weights as it draws with them."""
    return {**weights(run, "backbone"), **{n.removeprefix("backbone."): t for n, t in weights(run, "ema").items()}}


def test_nothing_but_the_lora_moves(base: Run, adapted: Run) -> None:
    before, after = averages(base), weights(adapted, "backbone")
    assert set(after) == set(weights(base, "backbone"))
    assert all(torch.equal(tensor, before[name]) for name, tensor in after.items())
    assert all(torch.equal(tensor, before[f"encoders.{name}"]) for name, tensor in weights(adapted, "encoders").items())
    ups = [tensor for name, tensor in weights(adapted, "lora").items() if name.endswith(".up")]
    assert ups
    assert all(bool(tensor.any()) for tensor in ups), "what was zero at birth has moved"
    trained = {name.partition("|")[0] for name in weights(adapted, "optimizer")}
    assert trained == set(weights(adapted, "ema")) == {n for n in trained if n.startswith(f"loras.{TRAINED}.")}


def test_a_lora_run_loads_alone_and_draws_otherwise(base: Run, adapted: Run) -> None:
    model = load(adapted.path)
    drawn = model.sample(["seven"], seed=3).images
    assert not torch.equal(drawn, load(base.path).sample(["seven"], seed=3).images)
    model.loras[TRAINED].strengthen(0.0)  # pyright: ignore[reportCallIssue]
    assert torch.allclose(model.sample(["seven"], seed=3).images, load(base.path).sample(["seven"], seed=3).images, atol=1e-5)


def test_it_learns(tmp_path: Path, tiny: Tiny, base: Run) -> None:
    """The loss falls, by the LoRA alone, of which every layer has one: the base has hardly begun to learn."""
    lora = "lora={rank: 4, alpha: 8, targets: ['*']}"
    overrides = (lora, "train.lr=1.0e-2", "train.steps=60", "train.checkpoint_every=60", "train.batch=32", "train.warmup=1")
    run = train(tiny(*overrides), tmp_path / "run", init_from=base, say=quiet)
    losses = [float(line.split('"loss": ')[1].split(",")[0]) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    assert sum(losses[-20:]) < 0.8 * sum(losses[:20])


@pytest.mark.parametrize("stop", [1, 5])
def test_a_stopped_run_ends_bit_equal(tmp_path: Path, tiny: Tiny, base: Run, adapted: Run, stop: int) -> None:
    run = train(tiny(LORA), tmp_path / "run", init_from=base, say=quiet)
    for path in run.checkpoints.iterdir():
        if int(path.name.removeprefix("step-")) > stop:
            path.rename(tmp_path / path.name)
    said: list[str] = []
    train(tiny(LORA), tmp_path / "run", say=said.append)
    assert f"going on at step {stop} of 8" in said[0]
    assert run.latest().manifest["files"] == adapted.latest().manifest["files"]  # pyright: ignore[reportOptionalMemberAccess]


def test_a_network_that_nobody_trained_is_not_adapted(tmp_path: Path, tiny: Tiny) -> None:
    with pytest.raises(UsageError, match="a LoRA adapts a network that is trained") as caught:
        train(tiny(LORA), tmp_path / "run", say=quiet)
    assert "--init-from RUN" in caught.value.hint
    assert not (tmp_path / "run").exists()


def test_another_network_is_not_adapted(tmp_path: Path, tiny: Tiny, base: Run) -> None:
    with pytest.raises(CheckpointError, match="have another shape"):
        train(tiny(LORA, "backbone.width=16"), tmp_path / "run", init_from=base, say=quiet)


def test_a_run_that_goes_on_without_a_lora_has_it_in_its_weights(tmp_path: Path, tiny: Tiny, adapted: Run) -> None:
    run = train(tiny("train.steps=1", "train.lr=1.0e-12"), tmp_path / "run", init_from=adapted, say=quiet)
    drawn, expected = (load(path).sample(["seven"], seed=3).images for path in (run.path, adapted.path))
    assert torch.allclose(drawn, expected, atol=1e-5)


def test_a_second_lora_stands_on_the_first(tmp_path: Path, tiny: Tiny, adapted: Run) -> None:
    spec = tiny("train.steps=1", "train.lr=1.0e-12", "lora={rank: 1, targets: [conv1]}")
    run = train(spec, tmp_path / "run", init_from=adapted, say=quiet)
    drawn, expected = (load(path).sample(["seven"], seed=3).images for path in (run.path, adapted.path))
    assert torch.allclose(drawn, expected, atol=1e-5)


def test_packed_it_draws_the_same(tmp_path: Path, adapted: Run) -> None:
    expected = load(adapted.path).sample(["seven"], seed=3).images
    small = pack(adapted, tmp_path / "small", licence="ours")
    assert torch.allclose(load(small).sample(["seven"], seed=3).images, expected, atol=2e-2)
    checkpoint = Run(small).latest()
    assert checkpoint is not None
    average = weights(adapted, "ema")
    packed = checkpoint.tensors("lora")
    assert all(torch.equal(packed[n.removeprefix(f"loras.{TRAINED}.")], tensor.half()) for n, tensor in average.items())


def test_a_lora_that_the_spec_forgets_is_not_ignored(tmp_path: Path, tiny: Tiny, base: Run) -> None:
    run = train(tiny(LORA, "train.steps=1"), tmp_path / "run", init_from=base, say=quiet)
    with pytest.raises(CheckpointError, match="it would be silently ignored"):
        train(tiny("train.steps=1"), run.path, override=True, say=quiet)


def test_the_section_is_checked_like_every_other(tiny: Tiny) -> None:
    with pytest.raises(SpecErrors, match=r"lora\.rank: 0 is out of range; expected an integer greater than 0"):
        tiny("lora.rank=0")
    with pytest.raises(SpecErrors, match="unknown key 'ranks'; did you mean 'rank'"):
        tiny("lora.ranks=3")
    assert tiny().lora is None
    assert tiny().digest() != tiny(LORA).digest()
    assert read_spec(tiny(LORA).to_yaml()).lora == tiny(LORA).lora


def test_what_convert_reads_of_it_is_merged(adapted: Run) -> None:
    """By hand: W + alpha / r up @ down, of the averages; alpha is r here."""
    foreign, average = from_run(adapted, None), weights(adapted, "ema")
    assert "lora" not in foreign.spec
    assert "LoRA: merged into the weights" in foreign.notes
    before = weights(adapted, "backbone")
    name = "mid.attn.0.blocks.0.attn1.to_q"
    up, down = (average[f"loras.{TRAINED}.{name}.{part}"] for part in ("up", "down"))
    assert torch.allclose(foreign.weights[f"{name}.weight"], before[f"{name}.weight"] + up @ down, atol=1e-7)
    assert torch.equal(foreign.weights["stem.weight"], before["stem.weight"])
