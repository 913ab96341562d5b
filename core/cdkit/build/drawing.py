"""drawing: the drawing of a model that was assembled, on the meta device if need be: its network block by block."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from math import log2
from typing import TYPE_CHECKING

from cdkit.build.mount import Slot
from cdkit.build.report import size
from cdkit.parts import Encoder, Joiner, Site
from cdkit.spec.drawing import Block, Drawing, Told, drawing_of

if TYPE_CHECKING:
    from cdkit.model import Model


def opened(model: Model) -> Drawing:
    """The spec's drawing, with encoders' widths, and the network's blocks and places as the backbone named them."""
    drawing = drawing_of(model.spec)
    told = tuple(with_forms(one, model.readers[one.name].encoder) for one in drawing.conditions)
    return replace(drawing, conditions=told, blocks=tuple(blocks(model)))


def with_forms(told: Told, encoder: Encoder | Joiner) -> Told:
    """What an encoder hands on, and its parameters."""
    forms = [f"{form} {width}" for form, width in encoder.widths._asdict().items() if width]
    return replace(told, forms=", ".join(forms), size=counted(size(encoder)) if size(encoder) else "")


def blocks(model: Model) -> Iterable[Block]:
    """The places of the backbone, gathered by the block that names them, in the order in which a picture passes them."""
    gathered: dict[str, list[Slot]] = {}
    for slot in (module for module in model.backbone.modules() if isinstance(module, Slot)):
        gathered.setdefault(block_of(slot.site.name), []).append(slot)
    for name, slots in sorted(gathered.items(), key=lambda item: order(item[0])):
        yield block(model, name, slots)


def block_of(site: str) -> str:
    """ "down.0.res.1.norm1" is a place of block "down.0", "skip.3" of "skip", "mid.attn.blocks.0.attend" of "mid"."""
    first, *rest = site.split(".")
    return f"{first}.{rest[0]}" if len(rest) > 1 and rest[0].isdigit() else first


def order(block: str) -> int:
    """What comes first in a network comes first; blocks whose names say nothing stay as they were opened."""
    ranks = {"embed": 0, "input": 1, "sequence": 2, "down": 3, "mid": 5, "skip": 6, "up": 7, "out": 8}
    return ranks.get(block.partition(".")[0], 4)


def block(model: Model, name: str, slots: list[Slot]) -> Block:
    widths = list(dict.fromkeys(slot.site.width for slot in slots))
    deepest = max(slot.site.stride for slot in slots)
    fills: dict[str, Counter[str]] = {}
    for slot in slots:
        for injector in slot.taps:
            fills.setdefault(injector, Counter())[slot.site.kind] += 1
    said = f"{' '.join(map(str, widths))} wide{size_at(model, slots[0].site, deepest)}"
    return Block(name, said, narrow=round(log2(deepest)), fills=fills)


def size_at(model: Model, site: Site, stride: int) -> str:
    if site.layout == "vector":
        return ""
    height, width = (-(-side // stride) for side in model.shape[1:])
    return f", {height} × {width}"


def counted(number: int) -> str:
    """12.3 M parameters."""
    for unit, name in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if number >= unit:
            return f"{number / unit:.1f} {name} parameters"
    return f"{number} parameters"
