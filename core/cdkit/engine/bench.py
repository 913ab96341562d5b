"""bench: what a call of the denoiser, a sampling and a pass of training take here, hastened and otherwise, side by side.

Weights are as drawn and streams are random: time does not depend on either. The two are measured in turn, round after round, and
what counts is each one's median.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any, Literal

import torch
from torch import Tensor

from cdkit.build import assemble
from cdkit.build.liveness.streams import random_streams
from cdkit.build.work import work
from cdkit.diffusion.random import generator
from cdkit.engine.device import mixed_precision
from cdkit.engine.peer import prepared_peer
from cdkit.errors import UsageError
from cdkit.fast import hasten
from cdkit.fast.replayed import Replayed
from cdkit.fast.training import laid_out, quick
from cdkit.model import Model
from cdkit.model.draw import decided
from cdkit.model.walk import Told, Walk
from cdkit.spec import Spec

What = Literal["denoiser", "sample", "train"]
WHATS: tuple[What, ...] = ("denoiser", "sample", "train")
PLAIN = "plain"


@dataclass(frozen=True, slots=True)
class Row:
    """Milliseconds of one thing at one batch, and of all the arithmetic that a second holds: multiply-adds of the denoiser."""

    what: What
    batch: int
    against: str
    other: float
    fast: float
    macs: float  # a second, hastened

    @property
    def ratio(self) -> float:
        return self.other / self.fast

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "ratio": self.ratio}


@dataclass(frozen=True, slots=True)
class Against:
    """Whom a hastened model is measured against: itself, plainly, or the network of a format's own library, compiled or not."""

    library: str = PLAIN
    compiled: bool = False

    @property
    def name(self) -> str:
        return self.library + (", compiled" if self.compiled else "")

    def whats(self, asked: Sequence[What]) -> list[What]:
        """Of what was asked, all by default, what it can be measured in. UsageError for the rest."""
        has: tuple[What, ...] = WHATS if self.library == PLAIN else ("denoiser", "train")
        if missing := [what for what in asked if what not in has]:
            raise UsageError(f"--what {missing[0]}: against {self.library} there are {' and '.join(has)}")
        return [what for what in has if not asked or what in asked]

    def prepared(self, spec: Spec, what: What, batch: int, device: torch.device) -> Callable[[], Any]:
        if self.library == PLAIN:
            return PREPARED[what](spec, batch, device, fast=False)
        assert what != "sample", "which `whats` has refused"
        return prepared_peer(spec, what, batch, device, self.library, compiled=self.compiled)


def bench(
    spec: Spec,
    whats: Sequence[What],
    batches: Sequence[int],
    device: torch.device,
    rounds: int = 5,
    against: Against | None = None,
) -> Iterator[Row]:
    """One row for each thing and batch, as they are measured."""
    other = against or Against()
    macs = work(assemble(spec, device="meta")).macs
    for what in other.whats(whats):
        for batch in batches:
            hastened = PREPARED[what](spec, batch, device, fast=True)
            slow, quickly = in_turn(other.prepared(spec, what, batch, device), hastened, rounds, device)
            calls = {"denoiser": 1, "sample": len(decided_grid(spec)), "train": 3}[what]
            yield Row(what, batch, other.name, slow, quickly, calls * batch * macs / (quickly / 1e3))


def in_turn(plain: Callable[[], Any], hastened: Callable[[], Any], rounds: int, device: torch.device) -> tuple[float, float]:
    """Milliseconds of both, each once to warm up and then in turn."""
    times: tuple[list[float], list[float]] = ([], [])
    for call in (plain, hastened):
        call()
    for _ in range(rounds):
        for call, kept in zip((plain, hastened), times, strict=True):
            kept.append(milliseconds(call, device))
    return median(times[0]), median(times[1])


def milliseconds(call: Callable[[], Any], device: torch.device) -> float:
    """Once, the GPU's work included."""
    began = time.perf_counter()
    call()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return 1e3 * (time.perf_counter() - began)


def prepared_denoiser(spec: Spec, batch: int, device: torch.device, *, fast: bool) -> Callable[[], Tensor]:
    """One call of the backbone, with signals that are prepared."""
    return prepared_walk(spec, batch, device, fast=fast, steps=1)


def prepared_sample(spec: Spec, batch: int, device: torch.device, *, fast: bool) -> Callable[[], Tensor]:
    """A whole sampling by the spec's sampler and guidance, without encoder and autoencoder."""
    return prepared_walk(spec, batch, device, fast=fast, steps=None)


def prepared_walk(spec: Spec, batch: int, device: torch.device, *, fast: bool, steps: int | None) -> Callable[[], Tensor]:
    model = drawn(spec, device).eval()
    if fast and device.type == "cuda":
        hasten(model)
    recipe = decided(model, steps=steps, guidance=None if steps is None else 1.0, sampler=None if steps is None else "ddim")
    streams = random_streams(model, batch, device)
    told = Told(streams, streams, tuple(streams))
    noise = torch.randn(batch, *model.shape, device=device)

    def call() -> Tensor:
        with torch.inference_mode():
            return model.pace.walk(model, Walk(recipe, told, noise, [generator(i, "bench") for i in range(batch)]))

    return call


def prepared_train(spec: Spec, batch: int, device: torch.device, *, fast: bool) -> Callable[[], None]:
    """Forward and back, in the spec's precision."""
    model = drawn(spec, device).train()
    streams = random_streams(model, batch, device)
    x, t = torch.randn(batch, *model.shape, device=device), torch.full((batch,), 500.0, device=device)
    hurried = fast and device.type == "cuda"
    backbone = laid_out(model.backbone) if hurried else model.backbone
    predict = Replayed(backbone) if hurried else backbone
    half = mixed_precision(spec.train.precision, device) == "bf16"

    def passes() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            out = predict(x, t, model.prepare(model.joined(streams)))
        out.float().square().mean().backward()
        model.zero_grad(set_to_none=True)

    def call() -> None:
        if hurried:
            with quick(device):
                passes()
        else:
            passes()

    return call


PREPARED: dict[What, Callable[..., Callable[[], Any]]] = {
    "denoiser": prepared_denoiser,
    "sample": prepared_sample,
    "train": prepared_train,
}


def drawn(spec: Spec, device: torch.device) -> Model:
    """A model whose backbone holds numbers, and whose encoders are not needed."""
    return assemble(spec).to(device)


def decided_grid(spec: Spec) -> Any:
    """The steps of the spec's sampling."""
    return decided(assemble(spec, device="meta"), steps=None, guidance=None, sampler=None).grid
