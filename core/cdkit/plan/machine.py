"""Machine: what was measured of one kind of GPU and of the links between several. docs/scaling.md says where it comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Machine:
    """rate: FLOP a second of a training step of Stable Diffusion 1.x in bf16. memory: bytes. host: GPUs of one host.

    link: bytes a second of an all-reduce within a host (bus bandwidth). latency: seconds of one of a single number. drag: seconds
    by which a step grows for each second of traffic that is hidden behind its arithmetic. kept: of what the layers take in,
    two bytes a number, how much a training step keeps in all. reserve: bytes that CUDA and its libraries take.
    """

    rate: float
    memory: float
    host: int
    link: float
    latency: float
    drag: float
    kept: float
    reserve: float


MACHINES: Mapping[str, Machine] = {
    "h100": Machine(rate=190e12, memory=80e9, host=8, link=330e9, latency=30e-6, drag=0.5, kept=2.0, reserve=1.5e9),
}
