"""train.compile: as a whole or block by block, losses are those of the code; blocks alike are compiled once, and kept on disk."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Generator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from cdkit.build import assemble
from cdkit.engine import trainer
from cdkit.engine.blocks import blocks_of, slots_in
from cdkit.engine.compiled import compiled
from cdkit.engine.journal import losses_of
from cdkit.engine.train import train
from cdkit.model import Model
from cdkit.spec import Spec
from torch import Tensor
from torch._inductor.runtime.cache_dir_utils import default_cache_dir

Tiny = Callable[..., Spec]
DEEP = ("backbone.mult=[1, 2]", "backbone.blocks=2")


def quiet(line: str) -> None:
    del line


pytestmark = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")


@pytest.fixture(autouse=True)
def afresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Generator[None]:
    """Nothing compiled before, nothing left behind."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "inductor"))
    limit: Any = torch._dynamo.config.recompile_limit  # pyright: ignore
    torch.compiler.reset()
    yield
    torch.compiler.reset()
    torch._dynamo.config.recompile_limit = limit  # pyright: ignore


class Counting:
    """A backend that runs graphs as they are, and remembers what each was compiled for."""

    def __init__(self) -> None:
        self.graphs: list[tuple[Any, ...]] = []

    def __call__(self, graph: Any, inputs: list[Any]) -> Any:
        shapes = tuple((tuple(one.shape), one.stride()) for one in inputs if isinstance(one, Tensor))
        self.graphs.append((tuple(str(node.target) for node in graph.graph.nodes if node.op == "call_function"), shapes))
        return graph.forward


def gradients(model: Model) -> tuple[Tensor, list[Tensor]]:
    x, t = torch.randn(2, *model.shape, generator=torch.Generator().manual_seed(0)), torch.tensor([3.0, 700.0])
    out = model(x, t, {"text": ["seven", "three"]})
    model.zero_grad()
    out.square().mean().backward()
    return out.detach(), [parameter.grad for parameter in model.parameters() if parameter.grad is not None]


def opened(spec: Spec) -> Model:
    """With no gate at zero, so that everything has a gradient."""
    model = assemble(spec).train()
    draws = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if not parameter.any():
                parameter.normal_(std=0.1, generator=draws)
    return model


@pytest.mark.parametrize(
    "backbone",
    [
        DEEP,
        pytest.param(["backbone={use: dit, width: 16, depth: 4, heads: 2}"], marks=pytest.mark.slow),
        pytest.param(["backbone={use: mmdit, width: 16, depth: 5, heads: 2}"], marks=pytest.mark.slow),
    ],
)
def test_blocks_alike_are_compiled_once_and_answer_alike(tiny: Tiny, backbone: list[str]) -> None:
    injected = ["injectors=[{use: in_context, streams: [text]}]"] if "mmdit" in backbone[0] else []
    spec = tiny(*backbone, *injected)
    model, backend = opened(spec), Counting()
    plain, wanted = gradients(model)
    compiled(model.backbone, "regional", backend)
    out, found = gradients(model)
    first = len(backend.graphs)
    assert torch.allclose(out, plain, rtol=1e-5, atol=1e-6)
    for one, other in zip(found, wanted, strict=True):
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-6)
    assert len(set(backend.graphs)) == first, "no graph twice"
    assert first < len(blocks_of(model.backbone)[0])
    gradients(model)
    model.eval()
    with torch.no_grad():
        model(torch.randn(3, *model.shape), torch.ones(3), {"text": ["one", "two", "six"]})
    assert len(backend.graphs) == first, "once for each shape, and in training alone"


def test_a_block_that_hides_its_signals_is_compiled_as_it_is(tiny: Tiny) -> None:
    model = opened(tiny())
    block = next(block for block in blocks_of(model.backbone)[0] if type(block).__name__ == "TransformerBlock")
    slot = next(slot for slot in slots_in(block) if len(slot.taps))
    signals, ordinary = dict[str, Any](), block.forward
    block.forward = lambda h, emb, _about: ordinary(h, emb, signals)
    signals |= model.prepare(model.joined(model.encode({"text": ["seven"]})))
    h, emb = torch.randn(1, 16, 16), torch.randn(1, slot.site.embedding)
    before = block(h, emb, {"a": "mapping of its own"})
    compiled(model.backbone, "regional", Counting())
    assert slot.key != slot.site.name
    assert torch.allclose(block(h, emb, {"a": "mapping of its own"}), before, rtol=1e-5, atol=1e-6)
    assert slot.key == slot.site.name


@pytest.mark.slow
@pytest.mark.parametrize("recompute", [False, True])
def test_a_training_learns_the_same(tmp_path: Path, tiny: Tiny, monkeypatch: pytest.MonkeyPatch, recompute: bool) -> None:
    """With grids of samples between, drawn by the code."""
    spec = tiny(
        *DEEP, "train.steps=4", "train.checkpoint_every=100", "train.sample_every=2", f"train.recompute={str(recompute).lower()}"
    )
    plain = train(spec, tmp_path / "plain", say=quiet)
    for how in ("regional", True):
        backend = Counting()
        monkeypatch.setattr(trainer, "compiled", lambda backbone, how, backend=backend: compiled(backbone, how, backend))
        run = train(replace(spec, train=replace(spec.train, compile=how)), tmp_path / str(how), say=quiet)
        assert list(losses_of(run.path).values()) == pytest.approx(list(losses_of(plain.path).values()), rel=1e-4)
        assert backend.graphs


COUNTED = """
import json, sys, torch
from torch._dynamo.utils import counters
from cdkit.cli.app import main
sys.argv = ["cdkit", *sys.argv[1:]]
try:
    main()
finally:
    print(json.dumps({key: counters["inductor"][f"fxgraph_cache_{key}"] for key in ("hit", "miss")}))
"""


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_what_is_compiled_is_there_for_the_next_process(tmp_path: Path, tiny: Tiny) -> None:
    """By inductor, in a cache of cdkit's own, through the command."""
    (tmp_path / "spec.yaml").write_text(tiny("train.steps=3", "train.checkpoint_every=100").to_yaml())
    unset = {key: value for key, value in os.environ.items() if not key.startswith("TORCHINDUCTOR")}
    found: list[dict[str, int]] = []
    losses: list[list[float]] = []
    for run, how in (("off", "off"), ("cold", "regional"), ("warm", "regional")):
        line = [sys.executable, "-c", COUNTED, "train", "spec.yaml", "--out", run, "--device", "cpu", "--compile", how]
        environment = {**unset, "CDKIT_CACHE": str(tmp_path / "cache")}
        done = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
        found.append(json.loads(done.stdout.splitlines()[-1]))
        losses.append(list(losses_of(tmp_path / run).values()))
    off, cold, warm = found
    assert off == {"hit": 0, "miss": 0}
    assert cold["miss"] > 0
    assert warm == {"hit": cold["miss"] + cold["hit"], "miss": 0}
    assert (tmp_path / "cache" / "compiled").is_dir()
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)
    assert losses[2] == losses[1]


def test_the_environments_own_folder_counts(tiny: Tiny, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CDKIT_CACHE", str(tmp_path / "cache"))
    compiled(assemble(tiny()).backbone, "whole", "eager")
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == str(tmp_path / "inductor")
    for torchs in (None, default_cache_dir()):
        if torchs is None:
            monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")
        else:
            monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", torchs)
        compiled(assemble(tiny()).backbone, "whole", "eager")
        assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == str(tmp_path / "cache" / "compiled")
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")
    monkeypatch.setenv("CDKIT_CACHE", str(tmp_path / "a cache"))
    compiled(assemble(tiny()).backbone, "whole", "eager")
    assert " " not in os.environ.get("TORCHINDUCTOR_CACHE_DIR", ""), "g++ would not find it"
