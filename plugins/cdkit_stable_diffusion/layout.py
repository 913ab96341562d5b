"""Layout: what decides the names and shapes of a Stable Diffusion U-Net, found out from its tensors' shapes.

The number of heads leaves no trace in any shape. It is 8 where projections are convolutions (SD 1) and one for every 64
channels where they are linear (SD 2, XL), unless a configuration says otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Layout:
    """A U-Net by diffusers' names and ours. Levels count from the finest."""

    width: int
    mult: tuple[int, ...]
    blocks: int  # residual blocks a level on the way down
    depth: tuple[int, ...]  # transformer blocks a level; 0 without attention
    middle: int  # transformer blocks in the middle
    context: int  # width of a word
    linear: bool  # projections round the transformers: linear, or convolutions
    channels: int  # that go in
    out: int  # that come out
    added: int = 0  # width of what joins the time embedding; 0 for nothing
    heads: int | None = 8
    head_dim: int | None = None
    groups: int = 32

    @property
    def attention(self) -> tuple[int, ...]:
        return tuple(level for level, depth in enumerate(self.depth) if depth)

    @property
    def levels(self) -> int:
        return len(self.mult)

    @property
    def family(self) -> str:
        """What people call it, as far as its shapes tell."""
        inputs = {4: "", 9: ", inpainting", 8: ", picture to picture"}.get(self.channels, f", {self.channels} channels in")
        known = {(768, 0): "SD 1.x", (1024, 0): "SD 2.x", (2048, 2816): "SDXL base", (1280, 2560): "SDXL refiner"}
        return known.get((self.context, self.added), "a U-Net like Stable Diffusion's") + inputs


def layout_of(shapes: Shapes) -> Layout:
    """From the shapes of tensors by diffusers' names. ValueError if they are not those of such a U-Net."""
    try:
        return _layout(shapes)
    except (KeyError, IndexError, ZeroDivisionError) as error:
        raise ValueError(f"these tensors are no U-Net of Stable Diffusion: {error} is missing") from error


def _layout(shapes: Shapes) -> Layout:
    levels = _count(shapes, r"down_blocks\.(\d+)\.")
    blocks = _count(shapes, r"down_blocks\.0\.resnets\.(\d+)\.")
    width, channels = shapes["conv_in.weight"][:2]
    wide = [shapes[f"down_blocks.{level}.resnets.0.conv1.weight"][0] for level in range(levels)]
    if any(size % width for size in wide):
        raise ValueError(f"levels of widths {wide} are no multiples of the first convolution's, {width}")
    depth = tuple(_count(shapes, rf"down_blocks\.{level}\.attentions\.0\.transformer_blocks\.(\d+)\.") for level in range(levels))
    inside = "mid_block.attentions.0"
    linear = len(shapes[f"{inside}.proj_in.weight"]) == 2
    return Layout(
        width=width,
        mult=tuple(size // width for size in wide),
        blocks=blocks,
        depth=depth,
        middle=_count(shapes, rf"{re.escape(inside)}\.transformer_blocks\.(\d+)\."),
        context=shapes[f"{inside}.transformer_blocks.0.attn2.to_k.weight"][1],
        linear=linear,
        channels=channels,
        out=shapes["conv_out.weight"][0],
        added=shapes.get("add_embedding.linear_1.weight", (0, 0))[1],
        heads=None if linear else 8,
        head_dim=64 if linear else None,
    )


def _count(shapes: Shapes, pattern: str) -> int:
    """One more than the highest number that the pattern finds; 0 if it finds none."""
    numbers = [int(found[1]) for name in shapes if (found := re.match(pattern, name))]
    return max(numbers, default=-1) + 1


def with_heads(layout: Layout, heads: int | list[int]) -> Layout:
    """Told the number of heads a level, as diffusers' configurations tell it (they call it attention_head_dim).

    ValueError where it is neither one number everywhere nor one width of a head everywhere.
    """
    if isinstance(heads, int):
        return replace(layout, heads=heads, head_dim=None)
    wide = [layout.width * mult for mult in layout.mult]
    if len(set(heads)) == 1:
        return replace(layout, heads=heads[0], head_dim=None)
    widths = {size // number for size, number in zip(wide, heads, strict=True)}
    if len(widths) > 1 or any(size % number for size, number in zip(wide, heads, strict=True)):
        raise ValueError(f"{heads} heads at levels of {wide} channels: neither one number of heads nor one width of a head")
    return replace(layout, heads=None, head_dim=widths.pop())
