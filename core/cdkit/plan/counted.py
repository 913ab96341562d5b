"""Counted: what of a training step follows from the network's shapes alone. On the meta device: no weights, no memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from cdkit.build import assemble
from cdkit.build.liveness.streams import BATCH, fake
from cdkit.compare.price import price_of
from cdkit.engine.blocks import blocks_of
from cdkit.model import Model
from cdkit.spec import Spec


@dataclass(frozen=True, slots=True)
class Counted:
    """trained, frozen: weights. divided: of the trained ones, those that fsdp2 divides. flops: of one picture in a training step,
    forward and backward. taken: numbers that its layers take in. entering: numbers that its blocks take in. inner: numbers
    that the layers of the block with the most of them take in. tokens: of the text and its like, numbers a picture."""

    trained: int
    frozen: int
    divided: int
    flops: int
    taken: int
    entering: int
    inner: int
    tokens: int


def counted(spec: Spec) -> Counted:
    """Of one picture of this spec."""
    model = assemble(spec, device="meta")
    blocks, slots = blocks_of(model.backbone)
    whole = {id(parameter) for slot in slots for parameter in slot.parameters()}
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    divided = [parameter for parameter in model.backbone.parameters() if parameter.requires_grad and id(parameter) not in whole]
    sizes = taken_in(model, blocks)
    streams = [leaf.numel() for leaf in tree_leaves(list(fake(model).values())) if isinstance(leaf, Tensor)]
    everything = sum(parameter.numel() for parameter in model.parameters())
    return Counted(
        trained=sum(parameter.numel() for parameter in trained),
        frozen=everything - sum(parameter.numel() for parameter in trained),
        divided=sum(parameter.numel() for parameter in divided),
        flops=2 * price_of(spec).step,
        taken=sum(sizes.layers.values()) // BATCH,
        entering=sum(sizes.blocks.values()) // BATCH,
        inner=max((sum(sizes.layers.get(id(part), 0) for part in block.modules()) for block in blocks), default=0) // BATCH,
        tokens=sum(streams) // BATCH,
    )


@dataclass(frozen=True, slots=True)
class Sizes:
    """Numbers that each layer, and each block, takes in during one forward pass; by the module's identity."""

    layers: dict[int, int]
    blocks: dict[int, int]


def taken_in(model: Model, blocks: list[nn.Module]) -> Sizes:
    """Watched in one forward pass of the backbone."""
    sizes = Sizes({}, {})

    def watch(into: dict[int, int]) -> Any:
        def hook(module: nn.Module, inputs: tuple[Any, ...]) -> None:
            first = [one.numel() for one in inputs[:1] if isinstance(one, Tensor)]
            into[id(module)] = into.get(id(module), 0) + sum(first)

        return hook

    layers = [part for part in model.backbone.modules() if not list(part.children()) and list(part.parameters(recurse=False))]
    handles = [part.register_forward_pre_hook(watch(sizes.layers)) for part in layers]
    handles += [block.register_forward_pre_hook(watch(sizes.blocks)) for block in blocks]
    x, t = torch.empty((BATCH, *model.shape), device="meta"), torch.empty(BATCH, device="meta")
    with torch.no_grad():
        model.backbone(x, t, model.prepare(model.joined(fake(model))))
    for handle in handles:
        handle.remove()
    return sizes
