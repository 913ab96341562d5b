"""Strategy: how a training is laid over its processes. Each has its own pictures; after `clip` all have the same gradient.

alone: one process. ddp: every process holds the whole model, and gradients are sent while others are made (Li et al. 2020,
arXiv 2006.15704). late: the same, and they are sent when all are made, or by what a recording says of itself: no hook, less work
for the CPU, for GPUs whose links are fast.
fsdp2: the blocks of the backbone, their gradients, moments and averages are divided among the processes, and gathered block by
block when they are used (Zhao et al. 2023, arXiv 2304.11277; torch's fully_shard). What conditions pass through (encoders,
taps, LoRAs) is small, is used outside of the blocks and by some pictures alone, and stays whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cdkit.engine.batches import Batch
from cdkit.engine.blocks import blocks_of
from cdkit.engine.checkpoint import Tensors, write_checkpoint
from cdkit.engine.learner import Learner
from cdkit.engine.ranks import Ranks
from cdkit.engine.sharded import is_sharded, part_of
from cdkit.engine.shards import write_sharded
from cdkit.fast.strides import joined_rows, rows_in
from cdkit.spec import TrainSection

BUCKET = 100  # MiB of gradients that are sent at once: fewer, larger messages use links between GPUs better
LARGE = 8  # MiB of a gradient that is sent as it lies, for to copy it into a row with others costs more than a message


class Alone:
    """One process that has everything.

    lays_out: may weights lie as suits the device? replays: are gradients left alone while they are made, so that what makes them
    can be recorded?
    """

    lays_out = True
    replays = True

    def __init__(self, learner: Learner, ranks: Ranks) -> None:
        self.forward: Any = learner
        self.ranks = ranks

    def __call__(self, batch: Batch) -> Tensor:
        """The loss of this process's pictures."""
        return self.forward(batch)

    def kept_back(self) -> AbstractContextManager[Any]:
        """While it lasts, gradients stay in this process: those of all batches of an update but the last."""
        return nullcontext()

    def groups(self) -> Sequence[Sequence[nn.Parameter]] | None:
        """The weights whose gradients `send` takes while others are made; None before that is known."""
        return ()

    def send(self, row: Tensor, ready: torch.cuda.Event) -> None:
        """Take the gradients of the next group, in a row, which are there after `ready`."""

    def clip(self, parameters: Sequence[nn.Parameter], most: float) -> Tensor:
        """Bring the gradient's norm down to `most`; returns what it was."""
        return nn.utils.clip_grad_norm_(parameters, most)

    def write(self, folder: Path, step: int, tensors: Tensors, state: Mapping[str, Any], facts: Mapping[str, Any]) -> Path:
        """Commit a checkpoint of these tensors, wherever they are."""

        def written() -> Path:
            there = {name: {key: value.cpu() for key, value in values.items()} for name, values in tensors.items()}
            return write_checkpoint(folder, step, there, state, facts)

        return self.ranks.led(written)

    @property
    def draws(self) -> bool:
        """Does this process take part in drawing?"""
        return self.ranks.leads


class ByHand(Alone):
    """With weights whose gradients are averaged in `clip`, all at once, and not while they are made: those that the pictures of
    one process may leave unused. One that no process used keeps no gradient, as in one process alone."""

    def __init__(self, learner: Learner, ranks: Ranks, whole: Sequence[nn.Parameter]) -> None:
        super().__init__(learner, ranks)
        self.whole = [parameter for parameter in whole if parameter.requires_grad]
        self.buckets = in_buckets(self.whole)
        self._under_way: list[tuple[Tensor, Any]] = []  # of the first buckets

    def clip(self, parameters: Sequence[nn.Parameter], most: float) -> Tensor:
        self.average()
        return super().clip(parameters, most)

    def average(self) -> None:
        """Give every process the mean of their gradients, and none to what no process used. No GPU is waited for.

        Every process sends the same messages in the same order, whenever it comes to each.
        """
        if not self.whole:
            return
        for some in self.buckets[len(self._under_way) :]:
            self.post(joined_rows([torch.zeros_like(p) if p.grad is None else p.grad for p in some], some))
        used = torch.tensor([float(parameter.grad is not None) for parameter in self.whole])
        used, heard = self._sent(used, "MAX")  # between CPUs
        for some, (row, sent) in zip(self.buckets, self._under_way, strict=True):
            sent.wait()
            for parameter, gradient in zip(some, rows_in(row, some), strict=True):
                parameter.grad = gradient
        self._under_way = []
        heard.wait()
        for parameter, use in zip(self.whole, used.tolist(), strict=True):
            if not use:
                parameter.grad = None

    def post(self, row: Tensor) -> None:
        """Put the next bucket's gradients on the way to becoming the mean."""
        if not row.is_cuda:
            row /= self.ranks.world  # gloo has no mean
        self._under_way.append(self._sent(row, "AVG" if row.is_cuda else "SUM"))

    def _sent(self, values: Tensor, operation: str) -> tuple[Tensor, Any]:
        from torch import distributed

        return values, distributed.all_reduce(values, getattr(distributed.ReduceOp, operation), async_op=True)


class Late(ByHand):
    """Gradients of every weight are averaged when all are made; or, where a recording makes them, while it goes on.

    What the recording makes first is in the first buckets, which the first way back of rank 0 tells for all.
    """

    def __init__(self, learner: Learner, ranks: Ranks) -> None:
        backbone = [parameter for parameter in learner.model.backbone.parameters() if parameter.requires_grad]
        there = set(backbone)
        self._rest = [parameter for parameter in learner.parameters() if parameter not in there]
        super().__init__(learner, ranks, [*backbone, *self._rest])
        self._backbone, self._order = backbone, dict.fromkeys(range(0))
        self._hooks = [weight.register_hook(partial(self._note, place)) for place, weight in enumerate(backbone)]
        self._aside = torch.cuda.Stream() if ranks.device.type == "cuda" else None

    def average(self) -> None:
        if self._hooks:
            self._settle()
        super().average()

    def groups(self) -> Sequence[Sequence[nn.Parameter]] | None:
        return None if self._hooks else self.buckets

    def send(self, row: Tensor, ready: torch.cuda.Event) -> None:
        assert self._aside is not None, "only a GPU makes recordings"
        with torch.cuda.stream(self._aside):
            self._aside.wait_event(ready)
            self.post(row)

    def _note(self, place: int, _: Tensor) -> None:
        self._order[place] = None

    def _settle(self) -> None:
        for hook in self._hooks:
            hook.remove()
        self._hooks = []
        places = self.ranks.told([*self._order])
        made = set(places)
        order = [*places, *(place for place in range(len(self._backbone)) if place not in made)]
        self.buckets = [*in_buckets([self._backbone[place] for place in order]), *in_buckets(self._rest)]


class Ddp(ByHand):
    """Gradients are averaged while they are made. Encoders are not: a condition may be silent in all pictures of a process, and
    to look for what was not used costs every step."""

    replays = False

    def __init__(self, learner: Learner, ranks: Ranks) -> None:
        from torch.nn.parallel import DistributedDataParallel

        encoders = learner.model.encoders
        super().__init__(learner, ranks, list(encoders.parameters()))
        there = {id(parameter) for parameter in encoders.parameters()}
        apart = [name for name, parameter in learner.named_parameters() if id(parameter) in there]
        apart += [name for name, _ in learner.named_buffers()]  # which are alike, and stay so
        DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(learner, apart)  # pyright: ignore[reportPrivateUsage]
        denoises = learner.model.spec.task == "denoise"
        self.forward = DistributedDataParallel(
            learner, gradient_as_bucket_view=True, bucket_cap_mb=BUCKET, find_unused_parameters=not denoises
        )

    def kept_back(self) -> AbstractContextManager[Any]:
        return self.forward.no_sync()


class Fsdp2(ByHand):
    """fully_shard's groups are the backbone's blocks, and the rest of it. Rows are divided, which takes no other layout."""

    lays_out = False
    replays = False

    def __init__(self, learner: Learner, ranks: Ranks) -> None:
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        backbone, mesh = learner.model.backbone, init_device_mesh(ranks.device.type, (ranks.world,))
        blocks, taps = blocks_of(backbone)
        mounted = {parameter for tap in taps for parameter in tap.parameters()}
        for module in (*blocks, backbone):
            fully_shard(module, mesh=mesh, ignored_params=mounted)
        super().__init__(learner, ranks, [parameter for parameter in learner.parameters() if not is_sharded(parameter)])

    def clip(self, parameters: Sequence[nn.Parameter], most: float) -> Tensor:
        self.average()
        mine = [parameter.grad for parameter in parameters if parameter.grad is not None]
        divided = [part_of(gradient) for gradient in mine if is_sharded(gradient)]
        there = [gradient for gradient in mine if not is_sharded(gradient)]
        norm = (self.ranks.sum(squared(divided, self.ranks.device)) + squared(there, self.ranks.device)).sqrt()
        scale = (most / (norm + 1e-6)).clamp(max=1.0)
        torch._foreach_mul_([*divided, *there], scale)  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]
        return norm

    def write(self, folder: Path, step: int, tensors: Tensors, state: Mapping[str, Any], facts: Mapping[str, Any]) -> Path:
        return write_sharded(folder, step, tensors, state, facts, self.ranks)

    @property
    def draws(self) -> bool:
        return True


def in_buckets(parameters: Sequence[nn.Parameter]) -> list[list[nn.Parameter]]:
    """In the order in which they are full: of at most BUCKET, and of one where that is LARGE."""
    buckets: list[list[nn.Parameter]] = []
    small: list[nn.Parameter] = []
    for parameter in parameters:
        if parameter.nbytes >= LARGE * 2**20:
            buckets.append([parameter])
            continue
        if sum(one.nbytes for one in (*small, parameter)) > BUCKET * 2**20:
            buckets.append(small)
            small = []
        small.append(parameter)
    return [*buckets, small] if small else buckets


def squared(tensors: list[Tensor], device: torch.device) -> Tensor:
    """The sum of the squares of all their numbers, a scalar."""
    return nn.utils.get_total_norm(tensors).square() if tensors else torch.zeros((), device=device)


STRATEGIES: Mapping[str, type[Alone]] = {"ddp": Ddp, "late": Late, "fsdp2": Fsdp2}


def strategy_of(options: TrainSection, ranks: Ranks) -> type[Alone]:
    """As the spec says; what it says makes no difference to one process.

    `auto`: GPUs wait for a CPU that runs a hook for every weight; CPUs gain by it.
    """
    if ranks.world == 1:
        return Alone
    auto = "late" if ranks.device.type == "cuda" else "ddp"
    return STRATEGIES[auto if options.strategy == "auto" else options.strategy]
