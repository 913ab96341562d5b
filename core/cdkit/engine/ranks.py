"""Ranks: the processes that train one run together. Rank 0 writes; what is decided, all decide; alone, nothing is asked."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import Tensor

from cdkit.errors import EnvironmentFault, UsageError

T = TypeVar("T")
PATIENCE = timedelta(minutes=30)  # that the others wait while rank 0 saves, draws or reads
EXPECTED = "CDKIT_PROCESSES"  # how many processes whoever started this one meant to start
LOST = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "NCCL", "DistBackendError", "Timed out waiting")


class Elsewhere(BaseException):
    """Another process failed and says why; this one ends with the same exit code and in silence."""

    def __init__(self, exit_code: int) -> None:
        super().__init__("")
        self.exit_code = exit_code


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process among `world` that train together; `device` is where this one computes.

    What lies on a CPU is agreed upon between CPUs, so that no GPU has to come to an end first.
    """

    rank: int = 0
    world: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def leads(self) -> bool:
        """It alone writes."""
        return self.rank == 0

    def greatest(self, *numbers: float) -> tuple[float, ...]:
        """Of each number the greatest that any process has."""
        if self.world == 1:
            return numbers
        return tuple(self._reduced(torch.tensor(numbers, dtype=torch.float64), "MAX").tolist())

    def total(self, numbers: Sequence[int]) -> list[int]:
        """Of each number the sum over the processes."""
        if self.world == 1:
            return list(numbers)
        return self._reduced(torch.tensor(numbers, dtype=torch.int64), "SUM").tolist()

    def mean(self, value: Tensor) -> Tensor:
        """The mean over the processes of a scalar."""
        return value if self.world == 1 else self.sum(value.detach()) / self.world

    def sum(self, values: Tensor) -> Tensor:
        """Of tensors of one shape, a new one."""
        return values.clone() if self.world == 1 else self._reduced(values.clone(), "SUM")

    def _reduced(self, values: Tensor, operation: str) -> Tensor:
        from torch import distributed

        distributed.all_reduce(values, getattr(distributed.ReduceOp, operation))
        return values

    def told(self, value: T) -> T:
        """What rank 0 has, for all."""
        if self.world == 1:
            return value
        from torch import distributed

        held: list[Any] = [value]
        distributed.broadcast_object_list(held, src=0, device=torch.device("cpu"))
        return held[0]

    def gathered(self, value: T) -> list[T]:
        """What each process has, in the order of their ranks."""
        if self.world == 1:
            return [value]
        from torch import distributed

        held: list[Any] = [None] * self.world
        distributed.all_gather_object(held, value)
        return held

    def led(self, work: Callable[[], T]) -> T:
        """Rank 0 does the work and all have what it returns. Where it fails, it alone says so: the others raise Elsewhere."""
        if self.world == 1:
            return work()
        done: T | None = None
        failure: Exception | None = None
        if self.leads:
            try:
                done = work()
            except Exception as error:
                failure = error
        code, made = self.told((0 if failure is None else getattr(failure, "exit_code", 1), done))
        if failure is not None:
            raise failure
        if code:
            raise Elsewhere(code)
        return made  # pyright: ignore[reportReturnType]  # None only where `work` returns None

    def each(self, work: Callable[[], T]) -> T:
        """Every process does the work. Where any fails, the first of them says so and the others raise Elsewhere."""
        if self.world == 1:
            return work()
        done: T | None = None
        failure: Exception | None = None
        try:
            done = work()
        except Exception as error:
            failure = error
        codes = self.gathered(0 if failure is None else getattr(failure, "exit_code", 1))
        if any(codes):
            first = next(rank for rank, code in enumerate(codes) if code)
            raise failure if failure is not None and first == self.rank else Elsewhere(codes[first])
        return done  # pyright: ignore[reportReturnType]  # None only where `work` returns None

    def voiced(self, error: BaseException) -> BaseException:
        """What to raise where all processes fail alike: rank 0 says so."""
        return error if self.leads else Elsewhere(getattr(error, "exit_code", 1))

    def place(self, asked: str | None) -> str | None:
        """The device that this process is to take: its own among several, else the one that is asked for."""
        return asked if self.world == 1 else str(self.device)

    def share(self, batch: int) -> range:
        """This process's pictures of a batch. UsageError for a batch that cannot be divided evenly."""
        if batch % self.world:
            near = [size for size in (batch - batch % self.world, batch - batch % self.world + self.world) if size]
            raise UsageError(
                f"train.batch is {batch}, which {self.world} processes cannot share evenly",
                hint=" or ".join(f"--set train.batch={size}" for size in near),
            )
        each = batch // self.world
        return range(self.rank * each, (self.rank + 1) * each)


ALONE = Ranks()


@contextmanager
def joined(device: str | None, environment: Mapping[str, str] = os.environ) -> Generator[Ranks]:
    """Among the processes that torchrun started, if it started this one; else alone.

    Their number is checked: against what each was told, by counting them, and against what `cdkit train --procs` meant.
    EnvironmentFault where it differs. GPUs meet through NCCL, CPUs through gloo.
    """
    if int(environment.get("WORLD_SIZE", "1")) == 1:
        yield ALONE
        return
    from torch import distributed

    where = device_of(device, int(environment.get("LOCAL_RANK", "0")))
    backend = "cpu:gloo,cuda:nccl" if where.type == "cuda" else "gloo"
    store, rank, world = _met(environment)
    distributed.init_process_group(backend, store=store, rank=rank, world_size=world, timeout=PATIENCE)
    try:
        ranks = Ranks(distributed.get_rank(), distributed.get_world_size(), where)
        _check_world(ranks, environment)
        with _losses_told(ranks):
            yield ranks
    finally:
        distributed.destroy_process_group()


def _met(environment: Mapping[str, str]) -> tuple[Any, int, int]:
    """The store in which processes find each other, this one's rank, and how many there are.

    torchrun may lend one store to all that it starts after one another: each of those times gets keys of its own, lest a process
    wait for one that has ended (pytorch/pytorch#135712).
    """
    from torch.distributed import PrefixStore, rendezvous  # pyright: ignore[reportPrivateImportUsage]

    store, rank, world = next(iter(rendezvous("env://", timeout=PATIENCE)))
    if environment.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
        store = PrefixStore(f"start {environment.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)
    return store, rank, world


def device_of(asked: str | None, local: int) -> torch.device:
    """The device of the process with this number on its machine: a GPU of its own, or the CPU."""
    if asked is not None and ":" in asked:
        raise UsageError(f"--device {asked}: names one GPU for several processes", hint="--device cuda gives each its own")
    if asked == "cpu" or (asked is None and not torch.cuda.is_available()):
        return torch.device("cpu")
    there = torch.cuda.device_count()
    if local >= there:
        raise EnvironmentFault(
            f"process {local} of this machine has no GPU: there are {there}", hint=f"--procs {there}" if there else "--device cpu"
        )
    torch.cuda.set_device(local)
    return torch.device("cuda", local)


def _check_world(ranks: Ranks, environment: Mapping[str, str]) -> None:
    told = int(environment["WORLD_SIZE"])
    counted = ranks.total([1])[0]
    meant = int(environment.get(EXPECTED, told))
    if not ranks.world == told == counted == meant:
        raise EnvironmentFault(
            f"{meant} processes were to train; WORLD_SIZE is {told}, {ranks.world} are in their group, {counted} answered"
        )


@contextmanager
def _losses_told(ranks: Ranks) -> Generator[None]:
    """An error of the connection to other processes, in our words."""
    try:
        yield
    except RuntimeError as error:
        if not any(sign in f"{type(error).__name__} {error}" for sign in LOST):
            raise
        what = f"process {ranks.rank} of {ranks.world} has lost another one"
        hint = "what that one said stands above; torchrun starts all of them again with --max-restarts"
        raise EnvironmentFault(f"{what} ({str(error).splitlines()[0][:160]})", hint=hint) from error
