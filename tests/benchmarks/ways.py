"""Ways to train Stable Diffusion 1's U-Net, batch 32: seconds to the first step, milliseconds a step, GiB; a process for each.

python tests/benchmarks/ways.py compile      # train.compile: false, regional, whole; with an empty cache, and in the next process
python tests/benchmarks/ways.py recompute    # train.recompute: false, [0], [0, 1], true; plain, and two of them compiled by block
python tests/benchmarks/ways.py --small ...  # digits' small network instead, which a CPU can do
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from cdkit.build import assemble
from cdkit.engine.blocks import made_again, recompute
from cdkit.engine.compiled import compiled, undisturbed
from cdkit.engine.ema import Ema
from cdkit.engine.optimizer import make_optimizer
from cdkit.fast.training import laid_out, quick
from cdkit.model import Model
from cdkit.parts import Stream
from cdkit.spec import TrainSection, read_spec
from measured import DEVICE, milliseconds, note, wait
from sd1 import ours
from torch import Tensor

DIGITS = Path(__file__).parents[2] / "specs" / "digits.yaml"
BATCH = 32


def model_of(small: bool) -> Model:
    return (assemble(read_spec(DIGITS)).to(DEVICE) if small else ours()).train()


def data_of(model: Model) -> Iterator[tuple[Tensor, Tensor, Stream, Tensor]]:
    """Pictures, times, what is said and targets without end, the same for everybody."""
    draws = torch.Generator(device=DEVICE).manual_seed(1)
    widths = model.readers["text"].encoder.widths
    while True:
        x, target = (torch.randn(BATCH, *model.shape, device=DEVICE, generator=draws) for _ in range(2))
        times = torch.randint(0, 1000, (BATCH,), device=DEVICE, generator=draws).float()
        tokens = torch.randn(BATCH, 77, widths.tokens, device=DEVICE, generator=draws)
        yield x, times, Stream(tokens=tokens, pooled=tokens.mean(1)), target


def one(way: dict[str, Any]) -> dict[str, Any]:
    """One way, from a model that is there to its twentieth step."""
    model = model_of(way["small"])
    backbone, data, began = laid_out(model.backbone), data_of(model), time.perf_counter()
    if way["compile"]:
        compiled(model.backbone, way["compile"])
    recompute(made_again(model, way["recompute"]))
    optimizer, ema = make_optimizer(backbone, TrainSection(lr=1e-4)), Ema(backbone, 0.999)

    def step() -> Tensor:
        x, t, said, target = next(data)
        with torch.autocast(DEVICE, torch.bfloat16):
            out = backbone(x, t, model.prepare({"text": said}))
        loss = (out.float() - target).square().mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(list(backbone.parameters()), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        ema.update()
        return loss.detach()

    hurry = quick(torch.device(DEVICE), kernels=way["kernels"]) if DEVICE == "cuda" else nullcontext()
    with hurry, undisturbed():
        losses = [round(float(step()), 5)]
        wait()
        first = time.perf_counter() - began
        losses += [round(float(step()), 5) for _ in range(5)]
        took = milliseconds(step, 10, 4)
    memory = torch.cuda.max_memory_allocated() / 2**30 if DEVICE == "cuda" else 0.0
    return {"first, s": round(first, 2), "step, ms": round(took, 2), "GiB": round(memory, 2), "losses": losses}


def apart(name: str, cache: Path, small: bool, **way: Any) -> None:
    """The same in a process of its own."""
    whole = {"compile": False, "recompute": False, "kernels": not way.get("compile"), "small": small, **way}
    environment = {**os.environ, "TORCHINDUCTOR_CACHE_DIR": str(cache / "inductor"), "TRITON_CACHE_DIR": str(cache / "triton")}
    line = [sys.executable, __file__, "--one", json.dumps(whole)]
    done = subprocess.run(line, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    note(name, json.loads(done.stdout.splitlines()[-1]) if not done.returncode else f"failed, exit code {done.returncode}")


def main(words: list[str]) -> None:
    if words[:1] == ["--one"]:
        print(json.dumps(one(json.loads(words[1]))))
        return
    small = "--small" in words
    asked = [word for word in words if word != "--small"] or ["compile", "recompute"]
    note("device", [torch.cuda.get_device_name() if DEVICE == "cuda" else "CPU", f"torch {torch.__version__}"])
    with TemporaryDirectory() as folder:
        ways: dict[str, dict[str, Any]] = {
            "not compiled": {},
            "regional": {"compile": "regional"},
            "whole": {"compile": "whole"},
            "regional, with our kernels in it": {"compile": "regional", "kernels": True},
        }
        for number, (name, way) in enumerate(ways.items()) if "compile" in asked else ():
            for state in ("cold", "warm"):
                apart(f"{name}, {state}", Path(folder, str(number)), small, **way)
        for which in (False, [0], [0, 1], True) if "recompute" in asked else ():
            apart(f"recompute {which}", Path(folder, "0"), small, recompute=which)
        for which in ([0], True) if "recompute" in asked else ():
            apart(f"recompute {which}, regional", Path(folder, "1"), small, recompute=which, compile="regional")


main(sys.argv[1:])
