"""Times of networks that differ in how they are told, measured in turn in one process (see prices.py)."""

from __future__ import annotations

import gc
import platform
import time
from collections.abc import Callable, Mapping
from datetime import date
from statistics import median

import torch
from cdkit.build import assemble
from cdkit.build.liveness.streams import BATCH, random
from cdkit.model import Model
from cdkit.parts import Stream
from cdkit.spec import Spec

ROUNDS, BLOCK = 6, 3
WARM = 1  # rounds that are not counted


class Clock:
    """One network, of which a training step and a call can be timed. Random streams stand in for the encoders' answers."""

    def __init__(self, spec: Spec) -> None:
        self.model: Model = assemble(spec)
        generator = torch.Generator().manual_seed(0)
        shape = (BATCH, *self.model.shape)
        self.x, self.t = torch.randn(shape, generator=generator), torch.full((BATCH,), 500.0)
        said = {name: single(random(self.model, name, generator)) for name in self.model.told}
        self.streams = self.model.joined(said)
        with torch.no_grad():
            self.signals = self.model.prepare(self.streams)

    def step(self) -> None:
        """Forward and backward, what is prepared once a batch included; the optimiser is the same for all and left out."""
        self.model.backbone(self.x, self.t, self.model.prepare(self.streams)).square().mean().backward()
        self.model.zero_grad(set_to_none=True)

    @torch.no_grad()
    def call(self) -> None:
        """One step of drawing, of signals that are prepared."""
        self.model.backbone(self.x, self.t, self.signals)


def single(stream: Stream) -> Stream:
    """In float32, as training has it."""
    return Stream(*[None if form is None else form.float() for form in (stream.tokens, None, stream.pooled, stream.spatial)])


def measured(specs: Mapping[str, Spec], peer: str) -> dict[str, tuple[float, float, float, float]]:
    """By spec: a training step's milliseconds and its share of the peer's, and the same of a call of the denoiser.

    Milliseconds are the least median of a block of rounds, a share is the median of those of all rounds.
    """
    torch.set_num_threads(1)
    clocks = {name: Clock(spec) for name, spec in specs.items()}
    steps, calls = (rounds(clocks, peer, what) for what in (Clock.step, Clock.call))
    return {name: (*steps[name], *calls[name]) for name in specs}


def rounds(clocks: Mapping[str, Clock], peer: str, what: Callable[[Clock], None]) -> dict[str, tuple[float, float]]:
    """Milliseconds and shares by name. The peer is timed again before each of the others, so both meet the same machine."""
    taken: dict[str, list[float]] = {name: [] for name in clocks}
    shares: dict[str, list[float]] = {name: [] for name in clocks}
    for number in range(WARM + ROUNDS):
        for name, clock in clocks.items():
            before, own = timed(lambda: what(clocks[peer])), timed(lambda clock=clock: what(clock))
            if number >= WARM:
                taken[name].append(own)
                shares[name].append(own / before)
    return {name: (least(taken[name]), median(shares[name])) for name in clocks}


def timed(what: Callable[[], None]) -> float:
    gc.disable()
    began = time.perf_counter()
    what()
    took = time.perf_counter() - began
    gc.enable()
    return took * 1000


def least(taken: list[float]) -> float:
    """The least of the medians of blocks of rounds: what else the machine did in the others is left out."""
    return min(median(taken[start : start + BLOCK]) for start in range(0, len(taken), BLOCK))


def circumstances() -> str:
    """Where and when, in a sentence."""
    return (
        f"Measured on {date.today().isoformat()} on one core of an {platform.machine().replace('_', '-')} server with torch "
        f"{torch.__version__.split('+')[0]}, in batches of {BATCH}, float32."
    )
