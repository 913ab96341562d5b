"""Blocks: the modules that a backbone repeats. What they hold may be divided among processes, and what they keep made again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from torch import nn
from torch.utils.checkpoint import checkpoint

from cdkit.build.mount import Slot
from cdkit.errors import SpecError

if TYPE_CHECKING:
    from cdkit.model import Model


def blocks_of(backbone: nn.Module) -> tuple[list[nn.Module], list[Slot]]:
    """The innermost elements of its lists of modules that hold every site there, in order, and all that is mounted."""
    blocks: list[nn.Module] = []
    slots: list[Slot] = []
    for child in backbone.children():
        if isinstance(child, Slot):
            slots.append(child)
            continue
        inner, mounted = blocks_of(child)
        slots += mounted
        listed = isinstance(backbone, nn.ModuleList) and not isinstance(child, nn.ModuleList)
        whole = not inner or sum(len(list(slots_in(block))) for block in inner) < len(mounted)
        blocks += [child] if listed and whole and next(child.parameters(), None) is not None else inner
    return blocks, slots


def slots_in(block: nn.Module) -> Iterator[Slot]:
    yield from (part for part in block.modules() if isinstance(part, Slot))


class Level(NamedTuple):
    """Blocks at one resolution. stride: rows of the picture a row of theirs."""

    stride: int
    blocks: list[nn.Module]


def levels_of(backbone: nn.Module) -> list[Level]:
    """Its blocks by level, the finest first, as the sites within them tell their stride. A block without sites is at none."""
    there: dict[int, list[nn.Module]] = {}
    for block in blocks_of(backbone)[0]:
        strides = [slot.site.stride for slot in slots_in(block) if slot.site.layout != "vector"]
        if strides:
            there.setdefault(min(strides), []).append(block)
    return [Level(stride, there[stride]) for stride in sorted(there)]


def made_again(model: Model, which: bool | Sequence[int]) -> list[nn.Module]:
    """The blocks that `train.recompute` means. SpecError, with the levels that there are, for another one."""
    if isinstance(which, bool):
        return blocks_of(model.backbone)[0] if which else []
    levels = levels_of(model.backbone)
    for level in which:
        if level >= len(levels):
            there = ", ".join(f"{number} (stride {one.stride})" for number, one in enumerate(levels)) or "none"
            raise SpecError(
                f"{model.spec.place}: train.recompute: {model.spec.backbone.use} has no level {level}; its levels are {there}",
                hint="true takes every block, whatever its level",
            )
    return [block for level in dict.fromkeys(which) for block in levels[level].blocks]


def recompute(blocks: Sequence[nn.Module]) -> None:
    """Keep what goes into each of these blocks and make the rest again on the way back: less memory, up to a third more
    arithmetic (Chen et al. 2016, arXiv 1604.06174). The answers are the same to the bit."""
    for block in blocks:
        ordinary: Any = block.forward
        block.forward = partial(again, block, ordinary)


def again(block: nn.Module, ordinary: Any, *inputs: Any) -> Any:
    """`ordinary(*inputs)`, whose intermediate results are not kept where gradients are wanted."""
    return checkpoint(ordinary, *inputs, use_reentrant=False) if block.training else ordinary(*inputs)
