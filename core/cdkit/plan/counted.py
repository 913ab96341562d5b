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
from cdkit.engine.blocks import Level, blocks_of, levels_of, made_again
from cdkit.model import Model
from cdkit.spec import Spec


@dataclass(frozen=True, slots=True)
class AtLevel:
    """What of it belongs to the blocks at one level. share: of the backbone's arithmetic; the rest as of the whole."""

    stride: int
    share: float
    taken: int
    entering: int
    inner: int


@dataclass(frozen=True, slots=True)
class Counted:
    """trained, frozen: weights. divided: of the trained ones, those that fsdp2 divides. flops: of one picture in a training step,
    forward and backward. taken: numbers that its layers take in. entering: numbers that its blocks take in. inner: numbers
    that the layers of the block with the most of them take in. tokens: of the text and its like, numbers a picture. levels: the
    finest first."""

    trained: int
    frozen: int
    divided: int
    flops: int
    taken: int
    entering: int
    inner: int
    tokens: int
    levels: tuple[AtLevel, ...] = ()


def counted(spec: Spec) -> Counted:
    """Of one picture of this spec."""
    model = assemble(spec, device="meta")
    made_again(model, spec.train.recompute)  # is there each of its levels?
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
        inner=max((sizes.inner(block) for block in blocks), default=0) // BATCH,
        tokens=sum(streams) // BATCH,
        levels=tuple(at_level(level, sizes) for level in levels_of(model.backbone)),
    )


def at_level(level: Level, sizes: Sizes) -> AtLevel:
    inner = [sizes.inner(block) for block in level.blocks]
    return AtLevel(
        stride=level.stride,
        share=sum(sizes.flops[id(block)] for block in level.blocks) / sizes.total,
        taken=sum(inner) // BATCH,
        entering=sum(sizes.blocks[id(block)] for block in level.blocks) // BATCH,
        inner=max(inner) // BATCH,
    )


@dataclass(frozen=True, slots=True)
class Sizes:
    """Numbers that each layer, and each block, takes in during one forward pass, and the operations that each block does; by
    the module's identity. total: operations of the pass."""

    layers: dict[int, int]
    blocks: dict[int, int]
    flops: dict[int, int]
    total: int

    def inner(self, block: nn.Module) -> int:
        """Numbers that the layers within a block take in."""
        return sum(self.layers.get(id(part), 0) for part in block.modules())


def taken_in(model: Model, blocks: list[nn.Module]) -> Sizes:
    """Watched in one forward pass of the backbone."""
    from torch.utils.flop_counter import FlopCounterMode

    layers, entering, flops = (dict[int, int]() for _ in range(3))
    done = FlopCounterMode(display=False)

    def watch(into: dict[int, int]) -> Any:
        def hook(module: nn.Module, inputs: tuple[Any, ...]) -> None:
            first = [one.numel() for one in inputs[:1] if isinstance(one, Tensor)]
            into[id(module)] = into.get(id(module), 0) + sum(first)

        return hook

    def begun(block: nn.Module, *_: Any) -> None:
        flops[id(block)] = flops.get(id(block), 0) - done.get_total_flops()

    def ended(block: nn.Module, *_: Any) -> None:
        flops[id(block)] += done.get_total_flops()

    inside = [part for part in model.backbone.modules() if not list(part.children()) and list(part.parameters(recurse=False))]
    handles = [part.register_forward_pre_hook(watch(layers)) for part in inside]
    for block in blocks:
        handles += [block.register_forward_pre_hook(hook) for hook in (watch(entering), begun)]
        handles.append(block.register_forward_hook(ended))
    x, t = torch.empty((BATCH, *model.shape), device="meta"), torch.empty(BATCH, device="meta")
    with torch.no_grad():
        signals = model.prepare(model.joined(fake(model)))
        with done:
            model.backbone(x, t, signals)
    for handle in handles:
        handle.remove()
    return Sizes(layers, entering, flops, done.get_total_flops())
