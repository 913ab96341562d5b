"""A layout from the shapes of tensors by CompVis' names, where blocks are counted along the network."""

from __future__ import annotations

import re

from cdkit_stable_diffusion.layout import Layout, Shapes


def compvis_layout(shapes: Shapes) -> Layout:
    """ValueError if these are no tensors of such a U-Net."""
    try:
        return _layout(shapes)
    except (KeyError, IndexError, ZeroDivisionError) as error:
        raise ValueError(f"these tensors are no U-Net of Stable Diffusion: {error} is missing") from error


def _layout(shapes: Shapes) -> Layout:
    width, channels = shapes["input_blocks.0.0.weight"][:2]
    levels = _levels(shapes)
    mult = tuple(shapes[f"input_blocks.{level[0]}.0.out_layers.3.weight"][0] // width for level in levels)
    middle = "middle_block.1"
    linear = len(shapes[f"{middle}.proj_in.weight"]) == 2
    return Layout(
        width=width,
        mult=mult,
        blocks=len(levels[0]),
        depth=tuple(_depth(shapes, f"input_blocks.{level[0]}.1") for level in levels),
        middle=_depth(shapes, middle),
        context=shapes[f"{middle}.transformer_blocks.0.attn2.to_k.weight"][1],
        linear=linear,
        channels=channels,
        out=shapes["out.2.weight"][0],
        added=shapes.get("label_emb.0.0.weight", (0, 0))[1],
        heads=None if linear else 8,
        head_dim=64 if linear else None,
    )


def _levels(shapes: Shapes) -> list[list[int]]:
    """The numbers of the residual blocks of each level; a convolution that halves the picture ends a level."""
    levels: list[list[int]] = [[]]
    index = 1
    while any(name.startswith(f"input_blocks.{index}.") for name in shapes):
        if f"input_blocks.{index}.0.op.weight" in shapes:
            levels.append([])
        else:
            levels[-1].append(index)
        index += 1
    return levels


def _depth(shapes: Shapes, transformer: str) -> int:
    numbers = [
        int(found[1]) for name in shapes if (found := re.match(rf"{re.escape(transformer)}\.transformer_blocks\.(\d+)\.", name))
    ]
    return max(numbers, default=-1) + 1
