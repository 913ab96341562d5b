"""plan: memory a GPU, seconds a step, days, checkpoints and failures of a training on N GPUs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from cdkit.plan.counted import Counted
from cdkit.plan.machine import Machine

DAY = 86_400
WEIGHT = 4  # bytes: weights, gradients, moments and averages are float32
BUCKET = 25 * 2**20  # bytes that DDP sends at once
HIDDEN = 0.9  # of the way back can hide traffic: the first gradients have to be made before any can be sent
# 419 unexpected interruptions in 54 days on 16,384 H100s (Llama 3, 2024, arXiv 2407.21783, section 3.3.4).
FAILURES = 419 / 54 / 16_384  # a GPU and day

Strategy = Literal["ddp", "fsdp2"]


@dataclass(frozen=True, slots=True)
class Way:
    """How it is trained. each: pictures a GPU in one step. averages: moving averages that are kept. network: bytes a second that
    one host sends to others. disk: bytes a second that checkpoints are written with. restart: seconds until all go on."""

    gpus: int
    each: int = 16
    strategy: Strategy = "ddp"
    recompute: bool = False
    averages: int = 1
    network: float = 320e9
    disk: float = 2e9
    restart: float = 300.0


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes on each GPU. held: weights, moments and averages, between steps. gradients: beside them, in a step. gathered: of
    divided weights, those of the blocks in use. activations: what is kept for the way back. reserve: CUDA's own."""

    held: float
    gradients: float
    gathered: float
    activations: float
    reserve: float

    @property
    def most(self) -> float:
        """Of tensors, at once: what torch.cuda.max_memory_allocated tells."""
        return self.held + self.gradients + self.gathered + self.activations


@dataclass(frozen=True, slots=True)
class Step:
    """Seconds. alone: of one GPU. traffic: of all that is sent, if it were sent alone. exposed: by which the step grows."""

    alone: float
    traffic: float
    exposed: float

    @property
    def seconds(self) -> float:
        return self.alone + self.exposed

    @property
    def efficiency(self) -> float:
        """Of N GPUs, what would be N times one."""
        return self.alone / self.seconds


@dataclass(frozen=True, slots=True)
class Course:
    """steps and days of arithmetic; failures in that time; interval: seconds between checkpoints that loses the least (Young
    1974); lost: share of the time that failures and checkpoints take; checkpoint: bytes of one."""

    steps: int
    days: float
    failures: float
    interval: float
    lost: float
    checkpoint: float

    @property
    def days_in_all(self) -> float:
        return self.days / (1 - self.lost)


def memory_of(what: Counted, machine: Machine, way: Way) -> Memory:
    """Divided weights lie in N parts; all else is whole."""
    parts = way.gpus if way.strategy == "fsdp2" else 1
    own = what.trained - what.divided + what.divided / parts
    kept = what.entering + what.inner if way.recompute else what.taken
    return Memory(
        held=WEIGHT * (own * (3 + way.averages) + what.frozen),
        gradients=WEIGHT * own,
        gathered=0.0 if parts == 1 else WEIGHT * what.divided * 0.1,
        activations=2 * machine.kept * kept * way.each,
        reserve=machine.reserve,
    )


def step_of(what: Counted, machine: Machine, way: Way, alone: float | None = None) -> Step:
    """alone: what one GPU was measured to take; else arithmetic at the machine's rate, a third more of it where it recomputes."""
    work = what.flops * way.each / machine.rate * (4 / 3 if way.recompute else 1)
    seconds = work if alone is None else alone
    if way.gpus == 1:
        return Step(seconds, 0.0, 0.0)
    speed = machine.link if way.gpus <= machine.host else min(machine.link, way.network)
    share = (way.gpus - 1) / way.gpus
    whole = WEIGHT * (what.trained - what.divided if way.strategy == "fsdp2" else what.trained)
    sent = share * (2 * whole + (3 * WEIGHT * what.divided if way.strategy == "fsdp2" else 0))
    hops = machine.latency * math.log2(way.gpus)
    traffic = sent / speed + hops
    behind = HIDDEN * seconds * (3 / 4 if way.recompute else 2 / 3)
    last = 2 * share * BUCKET / speed + hops
    return Step(seconds, traffic, max(traffic - behind, 0.0) + machine.drag * min(traffic, behind) + last)


def course_of(what: Counted, step: Step, way: Way, pictures: float) -> Course:
    """Of a training that sees so many pictures."""
    steps = math.ceil(pictures / (way.each * way.gpus))
    days = steps * step.seconds / DAY
    checkpoint = WEIGHT * (what.trained * (3 + way.averages) + what.frozen * 0)
    between = DAY / (FAILURES * way.gpus)
    saving = checkpoint / way.disk
    interval = math.sqrt(2 * saving * between)
    lost = min(saving / interval + (interval / 2 + way.restart) / between, 0.99)
    return Course(steps, days, days * DAY / between, interval, lost, checkpoint)
