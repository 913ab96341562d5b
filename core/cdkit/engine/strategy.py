"""Strategy: how a training is laid over its processes. Each has its own pictures; after `clip` all have the same gradient.

alone: one process. ddp: every process holds the whole model, and gradients are sent while others are made (Li et al. 2020,
arXiv 2006.15704). late: the same, and they are sent when all are made: less work for the CPU, for GPUs whose links are fast.
fsdp2: the blocks of the backbone, their gradients, moments and averages are divided among the processes, and gathered block by
block when they are used (Zhao et al. 2023, arXiv 2304.11277; torch's fully_shard). What conditions pass through (encoders,
taps, LoRAs) is small, is used outside of the blocks and by some pictures alone, and stays whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
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
from cdkit.fast.strides import in_strides_of
from cdkit.spec import TrainSection

BUCKET = 100  # MiB of gradients that are sent at once: fewer, larger messages use links between GPUs better


class Alone:
    """One process that has everything."""

    def __init__(self, learner: Learner, ranks: Ranks) -> None:
        self.forward: Any = learner
        self.ranks = ranks

    def __call__(self, batch: Batch) -> Tensor:
        """The loss of this process's pictures."""
        return self.forward(batch)

    def kept_back(self) -> AbstractContextManager[Any]:
        """While it lasts, gradients stay in this process: those of all batches of an update but the last."""
        return nullcontext()

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
        self._used = torch.empty(0)

    def clip(self, parameters: Sequence[nn.Parameter], most: float) -> Tensor:
        self.average()
        norm = super().clip(parameters, most)
        self.forget()
        return norm

    def average(self) -> None:
        """Give every process the mean of their gradients. Nothing waits: what no process used is known in `forget` alone."""
        if not self.whole:
            return
        used = torch.tensor([float(parameter.grad is not None) for parameter in self.whole])
        self._used, asked = self._sent(used.to(self.ranks.device, non_blocking=True), "MAX")
        messages = [self._message(some) for some in in_buckets(self.whole)]
        for some, flat, sent in messages:
            sent.wait()
            for parameter, gradient in zip(some, flat.split([p.numel() for p in some]), strict=True):
                parameter.grad = gradient.as_strided(parameter.shape, parameter.stride())
        asked.wait()

    def forget(self) -> None:
        """Take their gradients from those that no process used. The first to wait for the device."""
        for parameter, used in zip(self.whole, self._used.tolist() if self.whole else (), strict=True):
            if not used:
                parameter.grad = None

    def _sent(self, values: Tensor, operation: str) -> tuple[Tensor, Any]:
        from torch import distributed

        return values, distributed.all_reduce(values, getattr(distributed.ReduceOp, operation), async_op=True)

    def _message(self, some: list[nn.Parameter]) -> tuple[list[nn.Parameter], Tensor, Any]:
        """Their gradients in a row, on the way to becoming the mean."""
        flat = torch.cat([row_of(torch.zeros_like(p) if p.grad is None else p.grad, p) for p in some])
        if flat.is_cuda:
            return some, *self._sent(flat, "AVG")
        flat /= self.ranks.world  # gloo has no mean
        return some, *self._sent(flat, "SUM")


class Late(ByHand):
    """Gradients of every weight are averaged when all are made."""

    def __init__(self, learner: Learner, ranks: Ranks) -> None:
        super().__init__(learner, ranks, list(learner.parameters()))


class Ddp(ByHand):
    """Gradients are averaged while they are made. Encoders are not: a condition may be silent in all pictures of a process, and
    to look for what was not used costs every step."""

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
    """fully_shard's groups are the backbone's blocks, and the rest of it."""

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
        self.forget()
        return norm

    def write(self, folder: Path, step: int, tensors: Tensors, state: Mapping[str, Any], facts: Mapping[str, Any]) -> Path:
        return write_sharded(folder, step, tensors, state, facts, self.ranks)

    @property
    def draws(self) -> bool:
        return True


def row_of(gradient: Tensor, parameter: nn.Parameter) -> Tensor:
    """Its numbers in the order in which the parameter's lie in memory, which need not be that of rows."""
    return in_strides_of(parameter, gradient).as_strided((gradient.numel(),), (1,))


def in_buckets(parameters: Sequence[nn.Parameter]) -> list[list[nn.Parameter]]:
    """In order, and each list of at most BUCKET, or of one."""
    buckets: list[list[nn.Parameter]] = [[]]
    room = BUCKET * 2**20
    for parameter in parameters:
        if buckets[-1] and parameter.nbytes > room:
            buckets.append([])
            room = BUCKET * 2**20
        buckets[-1].append(parameter)
        room -= parameter.nbytes
    return buckets


def squared(tensors: list[Tensor], device: torch.device) -> Tensor:
    """The sum of the squares of all their numbers, a scalar."""
    return nn.utils.get_total_norm(tensors).square() if tensors else torch.zeros((), device=device)


def strategy_of(learner: Learner, options: TrainSection, ranks: Ranks) -> Alone:
    """As the spec says; what it says makes no difference to one process."""
    if ranks.world == 1:
        return Alone(learner, ranks)
    return {"ddp": Ddp, "late": Late, "fsdp2": Fsdp2}[options.strategy](learner, ranks)
