"""What docs/scaling.md measures: the training step of Stable Diffusion 1.x on one GPU and on all of a host, and its memory.

    torchrun --nproc-per-node 2 docs/scaling.py --out scaling.json        (--tiny on CPUs: the same in small)

Each arm trains the same network (specs/sd_like.yaml's, on latents of noise, told 75 bytes of text through 77 tokens' worth of
cross-attention) by cdkit's own Trainer, AdamW and average included, with 16 pictures a process. `one` is a process alone, `apart`
all of them at once without a word to each other: what a GPU loses to its neighbour's heat is not what it loses to messages.
Arms come in the order in which `--arms` names them; what is named twice is measured twice, for GPUs that grow warm grow slow.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from cdkit.build import assemble
from cdkit.diffusion.random import generator
from cdkit.engine import trainer as training
from cdkit.engine.journal import Unwritten
from cdkit.engine.ranks import ALONE, Ranks, joined
from cdkit.engine.run import Run
from cdkit.engine.trainer import Trainer
from cdkit.model import Model
from cdkit.parts import Dataset, Example, SampleShape
from cdkit.spec import Spec, read_spec
from torch import distributed

ROOT = Path(__file__).parents[1]
WARM, TIMED = 4, 30  # steps
FULL = ("conditions.text={use: bytes, dim: 768, heads: 12, depth: 1}", "autoencoder=null", "train.ema=0.9999")
TINY = ("backbone.width=32", "backbone.mult=[1, 2]", "backbone.attention=[1]", "sample.height=16", "sample.width=16")


class Noise(Dataset):
    """As many latents as anybody asks for."""

    columns = ("text",)

    def __init__(self, shape: SampleShape, count: int) -> None:
        self.shape, self.count = shape, count

    def split(self, name: Any) -> Sequence[Example]:
        drawn = torch.randn(self.count, *self.shape, generator=generator(0, "scaling", name))
        return [Example(str(place), latent, {"text": ("a word " * 10 + "thing",)}) for place, latent in enumerate(drawn)]

    def fingerprint(self) -> str:
        return "0" * 64


class Arm(NamedTuple):
    name: str
    processes: Literal["one", "apart", "together"]
    strategy: str
    recompute: bool


ARMS = {
    arm.name: arm
    for arm in (
        Arm("one", "one", "ddp", False),
        Arm("apart", "apart", "ddp", False),
        Arm("ddp", "together", "ddp", False),
        Arm("late", "together", "late", False),
        Arm("fsdp2", "together", "fsdp2", False),
        Arm("ddp, recompute", "together", "ddp", True),
        Arm("late, recompute", "together", "late", True),
        Arm("fsdp2, recompute", "together", "fsdp2", True),
    )
}


def spec_of(arm: Arm, world: int, each: int, tiny: bool) -> Spec:
    train = f"train.batch={each * world}", f"train.strategy={arm.strategy}", f"train.recompute={str(arm.recompute).lower()}"
    read = read_spec(ROOT / "specs" / "sd_like.yaml", overrides=(*FULL, *(TINY if tiny else ()), *train, "data={use: digits}"))
    shape = SampleShape(read.sample.channels, read.sample.height, read.sample.width)
    registry = read.registry.extended({("dataset", "noise"): lambda: Noise(shape, 256)})
    assert read.data is not None
    return replace(read, data=replace(read.data, use="noise", options={}, registry=registry), registry=registry)


def measured(arm: Arm, ranks: Ranks, folder: Path, each: int, tiny: bool) -> dict[str, float]:
    """Seconds of a step, of many that follow one another; and on a GPU the bytes that are held between steps, at most (but for
    what recordings keep for themselves), and that PyTorch took from the GPU, recordings and all."""
    cuda = ranks.device.type == "cuda"
    training.assemble = partial(filled, ranks.device)
    trainer = Trainer(spec_of(arm, ranks.world, each, tiny), Run(folder), ranks.device, print, ranks)
    groups = trainer._groups()  # pyright: ignore[reportPrivateUsage]
    with trainer.hurried():
        for _ in range(WARM):
            trainer._update(next(groups), Unwritten())  # pyright: ignore[reportPrivateUsage]
        settle(ranks, cuda)
        if cuda:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        began = time.perf_counter()
        for _ in range(TIMED):
            trainer._update(next(groups), Unwritten())  # pyright: ignore[reportPrivateUsage]
        if cuda:
            torch.cuda.synchronize()
        took = (time.perf_counter() - began) / TIMED
    groups.close()
    trainer.finite.settle()
    found = {"seconds": ranks.greatest(took)[0], "loss": trainer.loss}
    if cuda:
        held, most, taken = torch.cuda.memory_allocated(), torch.cuda.max_memory_allocated(), torch.cuda.max_memory_reserved()
        found |= dict(zip(("held", "most", "taken"), ranks.greatest(held, most, taken), strict=True))
    return found


def filled(device: torch.device, spec: Spec) -> Model:
    """The model with numbers of about the usual size, drawn on its device: which ones makes no difference to time or memory."""
    model = assemble(spec, drawn=False).to(device)
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.02)
    return model


def settle(ranks: Ranks, cuda: bool) -> None:
    """Every process begins at once, with nothing under way."""
    if cuda:
        torch.cuda.synchronize()
    ranks.total([1])


def links(ranks: Ranks) -> dict[str, float]:
    """Bytes a second of an all-reduce (bus bandwidth) of a GiB and of a bucket of 25 MiB; seconds of one of a number."""
    found: dict[str, float] = {}
    for name, count in (("gib", 2**28), ("bucket", 25 * 2**18), ("number", 1)):
        values = torch.ones(count if ranks.device.type == "cuda" else min(count, 2**18), device=ranks.device)
        times: list[float] = []
        for _ in range(12):
            settle(ranks, ranks.device.type == "cuda")
            began = time.perf_counter()
            distributed.all_reduce(values)
            if ranks.device.type == "cuda":
                torch.cuda.synchronize()
            times.append(time.perf_counter() - began)
        took = statistics.median(times[2:])
        found[name] = took if name == "number" else 2 * (ranks.world - 1) / ranks.world * values.nbytes / took
    return found


def main() -> None:
    asked = argparse.ArgumentParser()
    asked.add_argument("--out", type=Path, required=True)
    asked.add_argument("--tiny", action="store_true")
    asked.add_argument("--each", type=int, default=16)
    asked.add_argument("--arms", nargs="*", default=[*ARMS], choices=[*ARMS])
    given = asked.parse_args()
    with joined(None) as ranks, tempfile.TemporaryDirectory() as folder:
        results: dict[str, Any] = {"world": ranks.world, "each": given.each, "torch": torch.__version__, "links": links(ranks)}
        results["device"] = torch.cuda.get_device_name() if ranks.device.type == "cuda" else "cpu"
        for place, arm in enumerate(ARMS[name] for name in given.arms):
            mine = ranks if arm.processes == "together" else Ranks(0, 1, ranks.device)
            began = time.perf_counter()
            found: dict[str, Any] = {}
            if arm.processes != "one" or ranks.leads:
                own = Path(folder) / f"{place}-{0 if mine is ranks else ranks.rank}"
                try:
                    found = measured(arm, mine, own, given.each, given.tiny)
                except torch.OutOfMemoryError as error:
                    found = {"error": str(error)[:200]}
            slowest = max(ranks.gathered(found), key=lambda one: one.get("seconds", 0.0))
            results.setdefault(arm.name, []).append(slowest)
            gc.collect()
            torch.cuda.empty_cache()
            ranks.total([1])
            if ranks.leads:
                print(arm.name, results[arm.name][-1], f"{time.perf_counter() - began:.0f} s", flush=True)
                given.out.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    assert ALONE.world == 1
    assert os.environ.get("NCCL_NVLS_ENABLE", "0") == "0", "NVLink multicast stays off"
    main()
