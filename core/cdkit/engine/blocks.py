"""Blocks: the modules that a backbone repeats. What they hold may be divided among processes, and what they keep made again."""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import nn
from torch.utils.checkpoint import checkpoint

from cdkit.build.mount import Slot


def blocks_of(backbone: nn.Module) -> tuple[list[nn.Module], list[Slot]]:
    """The innermost elements of its lists of modules, in order, without what is mounted on them; and that."""
    blocks: list[nn.Module] = []
    slots: list[Slot] = []
    for child in backbone.children():
        if isinstance(child, Slot):
            slots.append(child)
            continue
        inner, mounted = blocks_of(child)
        slots += mounted
        listed = isinstance(backbone, nn.ModuleList) and not inner and not isinstance(child, nn.ModuleList)
        blocks += [child] if listed and next(child.parameters(), None) is not None else inner
    return blocks, slots


def recompute(backbone: nn.Module) -> None:
    """Keep what goes into each block and make the rest again on the way back: less memory, a third more arithmetic (Chen et
    al. 2016, arXiv 1604.06174). The answers are the same to the bit."""
    for block in blocks_of(backbone)[0]:
        ordinary: Any = block.forward
        block.forward = partial(again, block, ordinary)


def again(block: nn.Module, ordinary: Any, *inputs: Any) -> Any:
    """`ordinary(*inputs)`, whose intermediate results are not kept where gradients are wanted."""
    return checkpoint(ordinary, *inputs, use_reentrant=False) if block.training else ordinary(*inputs)
