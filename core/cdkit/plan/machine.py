"""Machine: what was measured of one kind of GPU and of the links between two. docs/scaling.md says where it comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Machine:
    """rate: FLOP a second of a whole training step in bf16 whose passes are replayed. memory: bytes. host: GPUs of one host.
    reserve: bytes that CUDA and its libraries take.

    link: bytes a second of an all-reduce within a host (bus bandwidth). latency: seconds of one of a single number. kept: of
    what the layers take in, two bytes a number, how much a training step keeps for the way back, by strategy, since one of
    them has other kernels. launched: how many times as long a step takes whose kernels the CPU launches, one by one. again:
    what to make all blocks again adds, of a step. added: seconds that a strategy adds to each step beside its traffic, in
    launching work.
    """

    rate: float
    memory: float
    host: int
    reserve: float
    link: float
    latency: float
    kept: Mapping[str, float]
    launched: float
    again: float
    added: Mapping[str, float]


# Stable Diffusion 1.x, 16 pictures a GPU, hastened, two H200 of one host, torch 2.11, 2026-11-27: `docs/scaling.py`. An H100 is
# the same chip with less memory.
MACHINES: Mapping[str, Machine] = {
    "h100": Machine(
        rate=300e12,
        memory=80e9,
        host=8,
        reserve=1.5e9,
        link=319e9,
        latency=44e-6,
        kept={"ddp": 1.48, "late": 1.48, "fsdp2": 1.97},
        launched=1.83,
        again=1.0,
        added={"ddp": 0.0, "late": 0.0, "fsdp2": 174e-3},
    ),
}
