"""plan: memory a GPU, seconds a step, days, checkpoints and failures of a training on N GPUs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from cdkit.plan.counted import Counted
from cdkit.plan.machine import Machine

DAY = 86_400
WEIGHT = 4  # bytes: weights, gradients, moments and averages are float32
HIDDEN = 0.9  # of the way back can hide traffic: the first gradients have to be made before any can be sent
# 419 unexpected interruptions in 54 days on 16,384 H100s (Llama 3, 2024, arXiv 2407.21783, section 3.3.4).
FAILURES = 419 / 54 / 16_384  # a GPU and day

Strategy = Literal["ddp", "late", "fsdp2"]


def strategy_on_gpus(asked: Literal["auto"] | Strategy) -> Strategy:
    """What `auto` comes to there, as in engine.strategy."""
    return "late" if asked == "auto" else asked


@dataclass(frozen=True, slots=True)
class Way:
    """How it is trained. each: pictures a GPU in one step. averages: moving averages that are kept. network: bytes a second that
    one host sends to others. disk: bytes a second that checkpoints are written with. restart: seconds until all go on."""

    gpus: int
    each: int = 16
    strategy: Strategy = "late"
    recompute: bool | tuple[int, ...] = False
    averages: int = 1
    network: float = 320e9
    disk: float = 2e9
    restart: float = 300.0


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes on each GPU. held: weights, moments and averages, between steps. buckets: in which DDP keeps gradients. cast: of
    weights in bf16, for one step. activations: what is kept for the way back. gradients: they come as activations go. reserve:
    CUDA's own."""

    held: float
    buckets: float
    cast: float
    activations: float
    gradients: float
    reserve: float

    @property
    def most(self) -> float:
        """Of tensors, at once: what torch.cuda.max_memory_allocated tells."""
        late = 0.0 if self.buckets else self.gradients
        return self.held + self.buckets + self.cast + max(self.activations, late)


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
    """Divided weights lie in N parts; all else is whole. The most is in use where the way back begins: before any gradient."""
    parts = way.gpus if way.strategy == "fsdp2" else 1
    own = what.trained - what.divided + what.divided / parts
    return Memory(
        held=WEIGHT * (own * (3 + way.averages) + what.frozen),
        buckets=WEIGHT * what.trained if way.strategy == "ddp" and way.gpus > 1 else 0.0,
        cast=2.0 * what.trained,
        activations=2 * machine.kept[way.strategy] * kept_of(what, way) * way.each,
        gradients=WEIGHT * own,
        reserve=machine.reserve,
    )


def kept_of(what: Counted, way: Way) -> int:
    """Numbers of one picture that are kept for the way back: of blocks that are made again what enters them, and all of one."""
    if isinstance(way.recompute, bool):
        return what.entering + what.inner if way.recompute else what.taken
    levels = [what.levels[level] for level in set(way.recompute)]
    saved = sum(level.taken - level.entering for level in levels)
    return what.taken - saved + max((level.inner for level in levels), default=0)


def again_of(what: Counted, way: Way) -> float:
    """The share of the arithmetic that is done once more."""
    if isinstance(way.recompute, bool):
        return float(way.recompute)
    return sum(what.levels[level].share for level in set(way.recompute))


def step_of(what: Counted, machine: Machine, way: Way, alone: float | None = None) -> Step:
    """alone: what one GPU was measured to take; else arithmetic at the machine's rate, longer where it recomputes."""
    work = what.flops * way.each / machine.rate
    again = machine.launched + machine.again * again_of(what, way) if way.recompute else 1.0
    seconds = work * again if alone is None else alone
    if way.gpus == 1:
        return Step(seconds, 0.0, 0.0)
    traffic = traffic_of(what, machine, way)
    if way.strategy == "late":
        return Step(seconds, traffic, traffic)
    hooked = 0.0 if way.recompute else (machine.launched - 1) * seconds  # no pass is replayed
    behind = HIDDEN * (seconds + hooked) * 2 / 3
    return Step(seconds, traffic, max(traffic - behind, 0.0) + hooked + machine.added[way.strategy])


def traffic_of(what: Counted, machine: Machine, way: Way) -> float:
    """Seconds. An all-reduce sends twice what it reduces; of divided weights, weights are gathered twice and gradients
    scattered once."""
    speed = machine.link if way.gpus <= machine.host else min(machine.link, way.network)
    divided = what.divided if way.strategy == "fsdp2" else 0
    sent = WEIGHT * (2 * (what.trained - divided) + 3 * divided) * (way.gpus - 1) / way.gpus
    return sent / speed + machine.latency * math.log2(way.gpus)


def course_of(what: Counted, step: Step, way: Way, pictures: float) -> Course:
    """Of a training that sees so many pictures."""
    steps = math.ceil(pictures / (way.each * way.gpus))
    days = steps * step.seconds / DAY
    checkpoint = WEIGHT * what.trained * (3 + way.averages)
    between = DAY / (FAILURES * way.gpus)
    saving = checkpoint / way.disk
    interval = math.sqrt(2 * saving * between)
    lost = min(saving / interval + (interval / 2 + way.restart) / between, 0.99)
    return Course(steps, days, days * DAY / between, interval, lost, checkpoint)
